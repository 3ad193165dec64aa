// Gradio's client loses an event whose answer ("joined") it reads before the message that closes the stream
// of the events before: it takes the stream for open and never opens another, so a button stays dead. While
// a stream is open the answer waits until that stream is closed, or has told something of the event, which
// shows that it lives.
{
  const LONGEST_MS = 5000;
  const ask = window.fetch;
  const streams = new Set(); // signals of those that are open
  const told = new Set(); // ids of events that they told of
  const waits = new Set();
  const look = () => waits.forEach((one) => one());

  const watched = (answer) => {
    const text = new TextDecoder();
    const read = new TransformStream({
      transform(chunk, onward) {
        for (const [, id] of text.decode(chunk, { stream: true }).matchAll(/"event_id":"([^"]+)"/g)) told.add(id);
        onward.enqueue(chunk);
        look();
      },
    });
    return new Response(answer.body.pipeThrough(read), answer);
  };
  const opened = (signal) => {
    streams.add(signal);
    signal.addEventListener("abort", () => {
      streams.delete(signal);
      if (!streams.size) told.clear();
      look();
    });
  };
  const settled = (id) =>
    new Promise((go) => {
      const one = (late) => {
        if (!late && streams.size && !told.has(id)) return;
        waits.delete(one);
        go();
      };
      waits.add(one);
      setTimeout(one, LONGEST_MS, true);
      one();
    });

  window.fetch = async (...request) => {
    const [what] = request;
    const url = what.url ?? String(what);
    const stream = what.signal && url.includes("/queue/data");
    if (stream) opened(what.signal);
    const answer = await ask(...request);
    if (stream && answer.body) return watched(answer);
    if (answer.ok && streams.size && url.includes("/queue/join")) {
      await settled((await answer.clone().json()).event_id);
    }
    return answer;
  };
}
