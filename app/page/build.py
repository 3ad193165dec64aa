"""The whole page: its tabs, its theme, and where it is mounted."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib.resources import files

from fastapi import FastAPI

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # nothing is told to anybody

import gradio as gr

from foretaste.app.page import (
    catalogue_tab,
    compare_tab,
    judge_tab,
    recommend_tab,
    system_tab,
    training_tab,
)
from foretaste.app.page.desk import Desk
from foretaste.data.files import subfolder

PATH = "/app"
VISITORS = 20  # who can be at work at the same time
UPLOAD = "50mb"
ICON = (  # in the page itself: browsers ask a server's root for one that is nowhere named
    '<link rel="icon" href="data:image/svg+xml,%3Csvg xmlns=\'http://www.w3.org/2000/svg\' '
    "viewBox='0 0 16 16'%3E%3Crect width='16' height='16' rx='3' fill='%230f766e'/%3E%3Cpath "
    "d='M5 13V3h7v2H7v2.5h4v2H7V13z' fill='white'/%3E%3C/svg%3E\">"
)
TABS: dict[str, Callable[[Desk], None]] = {
    "Recommend": recommend_tab.tab,
    "Compare": compare_tab.tab,
    "Judge": judge_tab.tab,
    "Catalogue": catalogue_tab.tab,
    "Training": training_tab.tab,
    "System": system_tab.tab,
}


def page(desk: Desk) -> gr.Blocks:
    """The page over some services."""
    with gr.Blocks(title="Foretaste", analytics_enabled=False) as blocks:
        gr.Markdown("# Foretaste\nRecommendations by language-model agents, with their reasons.")
        with gr.Tabs():
            for name, tab in TABS.items():
                with gr.Tab(name, id=name.lower()):
                    tab(desk)

        async def left(visitor: gr.Request) -> None:  # in the loop of the tasks it ends
            desk.leave(visitor.session_hash or "")

        blocks.unload(left)
    blocks.queue(default_concurrency_limit=VISITORS)
    return blocks


def mount(app: FastAPI, desk: Desk, login: Callable[[str, str], bool] | None = None) -> FastAPI:
    """Serve the page at `PATH` of an application, its functions as MCP tools too.

    Args:
        app: the API's application.
        desk: what the page shows.
        login: whether a name and a password may come in; None for no login.
    """
    mounted: FastAPI = gr.mount_gradio_app(
        app,
        page(desk),
        PATH,
        auth=login,
        show_error=False,
        max_file_size=UPLOAD,
        allowed_paths=[str(subfolder("judged"))],  # what is offered for download
        ssr_mode=False,
        mcp_server=True,
        footer_links=[],
        enable_monitoring=False,
        theme=_theme(),
        head=f"{ICON}<script>{_own('joins.js')}</script>",
        css=_own("style.css"),
    )
    return mounted


def _own(name: str) -> str:
    return files("foretaste.app.page").joinpath(name).read_text("utf-8")


def _theme() -> gr.themes.Base:
    """Fonts of the visitor's own machine, and colours that can be read in light and dark (AA)."""
    sans = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif")
    mono = ("ui-monospace", "monospace")
    theme = gr.themes.Default(primary_hue="teal", font=sans, font_mono=mono)
    return theme.set(
        button_primary_background_fill="*primary_700",
        button_primary_background_fill_dark="*primary_700",
        button_primary_background_fill_hover="*primary_800",
        button_primary_background_fill_hover_dark="*primary_600",
        button_primary_text_color="white",
        color_accent="*primary_700",
        block_label_text_color="*neutral_700",
        block_title_text_color="*neutral_700",
        block_info_text_color="*neutral_700",
        body_text_color_subdued="*neutral_600",
        body_text_color_subdued_dark="*neutral_300",
        block_label_text_color_dark="*neutral_200",
        block_title_text_color_dark="*neutral_200",
        block_info_text_color_dark="*neutral_200",
    )
