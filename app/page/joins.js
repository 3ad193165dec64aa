// Gradio's client loses an event whose answer ("joined") it reads just before the message that closes the
// stream of the events before: it takes the stream for open and never opens another, so a button stays
// dead. While a stream is open the answer waits until that stream is closed, or until a closing message
// that was on its way has surely been read.
{
  const WAIT_MS = 150;
  const ask = window.fetch;
  const streams = new Set();
  const closed = (one) => new Promise((go) => one.addEventListener("abort", go));
  const streaming = (signal) => {
    streams.add(signal);
    closed(signal).then(() => streams.delete(signal));
  };
  window.fetch = async (...request) => {
    const [what] = request;
    const url = what.url ?? String(what);
    if (what.signal && url.includes("/queue/data")) streaming(what.signal);
    const answer = await ask(...request);
    if (url.includes("/queue/join") && streams.size) {
      const wait = new Promise((go) => setTimeout(go, WAIT_MS));
      await Promise.race([wait, ...[...streams].map(closed)]);
    }
    return answer;
  };
}
