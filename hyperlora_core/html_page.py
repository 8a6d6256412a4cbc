"""Reports as self-contained HTML files: no script, no font, nothing from the network."""

import html

_STYLE = """
:root { color-scheme: light dark; --ink: #1d1d1f; --dim: #6b6b70; --paper: #fff; --card: #f4f4f6; --kept: #1a8f6b;
  --gone: #d55e00; --line: #d9d9de; }
@media (prefers-color-scheme: dark) { :root { --ink: #ececf0; --dim: #a0a0a8; --paper: #161618; --card: #222226;
  --kept: #35b58c; --gone: #ff8f45; --line: #3a3a40; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 24px 16px 64px; max-width: 1120px; font: 15px/1.5 system-ui, sans-serif;
  color: var(--ink); background: var(--paper); overflow-wrap: anywhere; }
h1 { font-size: 26px; margin: 0 0 4px; } h2 { font-size: 19px; margin: 36px 0 12px; }
h3 { font-size: 14px; margin: 0 0 6px; font-weight: 600; } p { margin: 0 0 12px; } .dim { color: var(--dim); }
.cards { display: grid; gap: 12px; grid-template-columns: repeat(auto-fit, minmax(132px, 1fr)); }
.card { background: var(--card); border-radius: 10px; padding: 12px 14px; }
.card b { display: block; font-size: 24px; line-height: 1.2; font-variant-numeric: tabular-nums; }
.plots { display: grid; gap: 12px; grid-template-columns: repeat(auto-fill, minmax(min(100%, 300px), 1fr)); }
svg { display: block; width: 100%; height: auto; } svg text { font-size: 11px; fill: var(--dim); }
table { width: 100%; border-collapse: collapse; } td { padding: 5px 8px 5px 0; border-top: 1px solid var(--line);
  vertical-align: top; } td.n { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; width: 1%; }
.sheet { display: grid; gap: 8px; grid-template-columns: repeat(auto-fill, minmax(92px, 1fr)); }
.sheet img { width: 100%; aspect-ratio: 1; object-fit: contain; background: var(--card); border-radius: 6px; }
"""


def whole(title: str, body: str, style: str = "") -> str:
    """A page.

    Args:
        title: plain text.
        body: HTML.
        style: CSS in addition to that of all pages.
    """
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{text(title)}</title><style>{_STYLE}{style}</style></head>\n<body>{body}</body></html>\n"
    )


def text(value: object) -> str:
    """Anything as text in HTML."""
    return html.escape(str(value))
