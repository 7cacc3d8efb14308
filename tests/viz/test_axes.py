"""What all charts share."""

from __future__ import annotations

import pytest
from matplotlib.colors import to_hex, to_rgb

from dife_lightning.viz.axes import as_percent, dot, ink_on, interval, legend, table_axes, tile
from dife_lightning.viz.sheet import axes_at, new_figure, pixels


def lines(upright: bool) -> list[tuple[list[float], list[float]]]:
    axes = axes_at(new_figure(2, 2), 0.2, 0.2, 1.5, 1.5)
    interval(axes, 7.0, (2.0, 1.0, 4.0), "#123456", upright=upright)
    return [(list(line.get_xdata()), list(line.get_ydata())) for line in axes.lines]


def test_an_interval_is_a_bar_from_end_to_end_with_a_dot_at_the_mean():
    assert lines(upright=True) == [([7.0, 7.0], [1.0, 4.0]), ([7.0], [2.0])]
    assert lines(upright=False) == [([1.0, 4.0], [7.0, 7.0]), ([2.0], [7.0])]


def test_axes_in_inches_are_where_they_are_asked_for():
    figure = new_figure(4, 2)
    box = axes_at(figure, 1.0, 0.5, 2.0, 1.0).get_position()
    assert (box.x0, box.x1, box.y0, box.y1) == pytest.approx((0.25, 0.75, 0.25, 0.75))


@pytest.mark.parametrize("color", ["#000000", "#8f2414", "#2f6fde", "#fde3b8", "#ffffff"])
def test_text_on_a_colour_contrasts_with_it(color):
    def luminance(rgb):
        linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in rgb]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((luminance(to_rgb(color)), luminance(to_rgb(ink_on(to_rgb(color))))))
    assert (high + 0.05) / (low + 0.05) > 4.5  # WCAG's contrast for text


def test_tiles_fill_the_cells_of_a_table_without_touching():
    axes = axes_at(new_figure(2, 2), 0, 0, 2, 2)
    table_axes(axes, 2, ["a", "b"])
    boxes = [tile(column, row, "red").get_bbox() for column in range(2) for row in range(2)]
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    assert all(left < b.x0 < b.x1 < right and top < b.y0 < b.y1 < bottom for b in boxes)
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[i + 1 :])


def test_a_legend_shows_its_colours_and_names():
    figure = new_figure(3, 1)
    legend(figure, [dot("one", "#ff0000"), dot("two", "#00ff00", shape="s")])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["one", "two"]
    found = {to_hex(color / 255) for color in pixels(figure).reshape(-1, 3)}
    assert {"#ff0000", "#00ff00"} <= found


def test_shares_are_written_in_percent():
    assert [as_percent(value) for value in (0, 0.05, 1)] == ["0 %", "5 %", "100 %"]
