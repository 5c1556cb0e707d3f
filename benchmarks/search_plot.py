"""Draws the curves of searches as a self-contained SVG."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

WIDTH, HEIGHT, LEFT, TOP, GAP = 380, 260, 60, 40, 90
COLOURS = ("#1668c7", "#c7621a", "#6a4fb3", "#808080")


def draw(summary: Mapping[str, Any], methods: Sequence[str]) -> str:
    """One panel a problem: mean score against the share of the budget, a band of one standard error."""
    panels = [_panel(i, name, found, methods) for i, (name, found) in enumerate(summary.items())]
    width = LEFT + len(panels) * (WIDTH + GAP)
    height = TOP + HEIGHT + 80
    legend = "".join(
        f'<rect x="{LEFT + 190 * i}" y="{height - 24}" width="14" height="4" fill="{COLOURS[i]}"/>'
        f'<text x="{LEFT + 190 * i + 20}" y="{height - 18}">{method}</text>'
        for i, method in enumerate(methods)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'font-family="sans-serif" font-size="12" fill="#333"><rect width="100%" height="100%" fill="#fff"/>'
        + "".join(panels)
        + legend
        + "</svg>\n"
    )


def _panel(index: int, name: str, found: Mapping[str, Any], methods: Sequence[str]) -> str:
    left = LEFT + index * (WIDTH + GAP)
    spans = [
        (mean - error, mean + error)
        for method in methods
        for mean, error in zip(found["mean"][method], found["error"][method], strict=True)
    ]
    low, high = min(span[0] for span in spans), max(span[1] for span in spans)
    reach = max(high - low, 1e-9)

    def place(look: int, score: float) -> str:
        x = left + WIDTH * (look + 1) / len(found["mean"][methods[0]])
        return f"{x:.1f},{TOP + HEIGHT * (1 - (score - low) / reach):.1f}"

    parts = [f'<text x="{left}" y="{TOP - 14}" font-weight="bold">{name}, {len(found["seeds"])} seeds</text>']
    for i in range(5):
        score = low + reach * i / 4
        y = TOP + HEIGHT * (1 - i / 4)
        parts.append(f'<path d="M{left} {y:.1f}h{WIDTH}" stroke="#ddd"/>')
        parts.append(f'<text x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{score:.4g}</text>')
    for i in range(5):
        seconds = found["budget"] * i / 4
        parts.append(
            f'<text x="{left + WIDTH * i / 4:.1f}" y="{TOP + HEIGHT + 18}" text-anchor="middle">'
            f"{seconds:.0f} s</text>"
        )
    for method, colour in zip(methods, COLOURS, strict=False):
        mean, error = found["mean"][method], found["error"][method]
        pairs = list(enumerate(zip(mean, error, strict=True)))
        band = [place(look, m + e) for look, (m, e) in pairs]
        band += [place(look, m - e) for look, (m, e) in reversed(pairs)]
        parts.append(f'<polygon points="{" ".join(band)}" fill="{colour}" opacity="0.12"/>')
        line = " ".join(place(look, m) for look, (m, _) in pairs)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
    return "".join(parts)
