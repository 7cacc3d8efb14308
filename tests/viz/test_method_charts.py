from __future__ import annotations

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from dife_lightning.errors import DataError
from dife_lightning.viz.heat import HEAT, heat_table
from dife_lightning.viz.intervals import interval_chart
from dife_lightning.viz.methods import Panel, drawn, method_colors, panel_grid
from dife_lightning.viz.pck import Curves, pck_chart
from dife_lightning.viz.sheet import pixels

VALUES = {"a": [(4.0, 3.0, 5.0), (2.0, 1.0, 3.0)], "b": [(6.0, 5.0, 7.0), None]}
PANEL = Panel("human+dog", ["nose", "chin"], VALUES, {"a": "+0.10", "b": "−0.20"}, "rank")


def texts(figure):
    return [text.get_text() for axes in figure.axes for text in (*axes.texts, axes.title)]


def boxes(figure):
    """Return the extents of all visible texts of a figure, in pixels."""
    figure.canvas.draw()
    found = [*figure.texts]
    for axes in figure.axes:
        shown = ((axes.xaxis, axes.get_xlim()), (axes.yaxis, sorted(axes.get_ylim())))
        ticks = [t.label1 for axis, (low, high) in shown for t in axis.get_major_ticks() if low <= t.get_loc() <= high]
        found += [*axes.texts, *ticks, axes.xaxis.label, axes.yaxis.label, axes._left_title]
        found += [area._text for artist in axes.artists for area in artist.get_child().get_children()]
    for legend in figure.legends:
        found += legend.get_texts()
    return [(text.get_text(), text.get_window_extent()) for text in found if text.get_visible() and text.get_text()]


def overlaps(figure):
    known = boxes(figure)
    width, height = figure.canvas.get_width_height()
    outside = [name for name, box in known if box.x0 < -1 or box.y0 < -1 or box.x1 > width + 1 or box.y1 > height + 1]
    pairs = [(a, b) for i, (a, one) in enumerate(known) for b, other in known[i + 1 :] if one.overlaps(other)]
    return outside, pairs


def test_a_method_keeps_its_colour_whatever_stands_beside_it():
    alone, beside = method_colors(["dife"]), method_colors(["x", "mean-shape", "dife", "y"])
    assert alone["dife"] == beside["dife"]
    assert len(set(beside.values())) == 4
    many = method_colors(["random", "copy-xy", "mean-shape", "surface-teacher", "dife-warmup", "dife", *"abcdefgh"])
    assert len(set(many.values())) == 14


def test_a_random_guess_is_drawn_only_where_nothing_else_is():
    assert drawn(["random", "b", "a", "b"]) == ["b", "a"]
    assert drawn(["random"]) == ["random"]


def test_panels_lie_in_rows_and_leave_room():
    _, cells = panel_grid(5, 2)
    spots = [axes.get_position() for axes in cells]
    assert len({round(spot.x0, 6) for spot in spots}) == 2
    assert len({round(spot.y0, 6) for spot in spots}) == 3
    assert all(0 < spot.x0 < spot.x1 < 1 and 0 < spot.y0 < spot.y1 < 1 for spot in spots)
    assert all(not a.overlaps(b) for i, a in enumerate(spots) for b in spots[i + 1 :])


def test_dots_stand_at_their_values_with_their_intervals():
    figure = interval_chart([PANEL], heading="h", ylabel="px")
    (axes,) = figure.axes
    colors = method_colors(["a", "b"])
    dots = [line for line in axes.lines if line.get_marker() == "o"]
    assert [(line.get_ydata()[0], line.get_color()) for line in dots] == [
        (4.0, colors["a"]),
        (2.0, colors["a"]),
        (6.0, colors["b"]),
    ]
    bars = [line for line in axes.lines if line.get_marker() == "None" and line.get_color() in colors.values()]
    assert [tuple(line.get_ydata()) for line in bars] == [(3, 5), (1, 3), (5, 7)]
    assert [round(line.get_xdata()[0]) for line in dots] == [0, 1, 0]
    assert dots[0].get_xdata()[0] < dots[2].get_xdata()[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["nose", "chin"]


def test_the_random_method_does_not_stretch_the_axis():
    wide = {"random": [(30.0, 29.0, 31.0)] * 2, **VALUES}
    (axes,) = interval_chart([Panel("p", ["nose", "chin"], wide)], heading="h").axes
    assert axes.get_ylim()[1] < 10


def test_all_panels_of_a_chart_share_their_scale():
    other = Panel("human+cat", ["nose", "chin"], {"a": [(1.0, 0.5, 1.5)] * 2, "b": [(9.0, 8.0, 10.0)] * 2})
    first, second = interval_chart([PANEL, other], heading="h").axes
    assert first.get_ylim() == second.get_ylim() == (pytest.approx(-0.4), pytest.approx(10.6))


def test_the_heat_of_a_cell_follows_its_number_and_the_least_is_bold():
    figure = heat_table([PANEL], heading="h")
    (axes,) = figure.axes
    tiles = {(round(t.get_x() + 0.5), round(t.get_y() + 0.5)): t.get_facecolor()[:3] for t in axes.patches}
    assert set(tiles) == {(0, 0), (1, 0), (0, 1)}
    assert tiles[1, 0] == pytest.approx(HEAT(0.0)[:3])
    assert tiles[0, 0] == pytest.approx(HEAT(0.5)[:3])
    assert tiles[0, 1] == pytest.approx(HEAT(1.0)[:3])
    bold = {text.get_text() for text in axes.texts if text.get_weight() == "bold"}
    assert bold == {"4.0", "2.0"}
    assert "±1.0" in texts(figure)


def curves(title="human+dog"):
    at = np.linspace(0.01, 0.2, 5)
    rise = np.linspace(0.1, 0.9, 5)
    lines = {name: np.stack((rise * f, rise * f - 0.05, rise * f + 0.05), 1) for name, f in (("a", 1.0), ("b", 0.5))}
    return Curves(title, at, lines, {"a": 0.5, "b": 0.25})


def test_curves_are_drawn_as_they_are_with_their_areas():
    figure = pck_chart([curves()], heading="h")
    (axes,) = figure.axes
    drawn_lines = {line.get_color(): line.get_ydata() for line in axes.lines if len(line.get_ydata()) == 5}
    for name, color in method_colors(["a", "b"]).items():
        np.testing.assert_array_equal(drawn_lines[color], curves().curves[name][:, 0])
    shown = [name for name, _ in boxes(figure)]
    assert {"0.50", "0.25", "area"} <= set(shown)


def test_a_panels_notes_have_the_colours_of_their_methods():
    image = pixels(interval_chart([PANEL], heading="h")) / 255
    bare = pixels(interval_chart([Panel("human+dog", ["nose", "chin"], VALUES)], heading="h")) / 255
    changed = np.abs(image - bare).max(-1) > 0.1
    for color in method_colors(["a", "b"]).values():
        assert (np.abs(image[changed] - to_rgb(color)).max(-1) < 0.02).sum() > 5


LANDMARKS = [
    *("left eye\nouter", "left eye\ninner", "right eye\ninner", "right eye\nouter", "nose", "mouth\nleft"),
    *("mouth\nright", "lip\nupper", "lip\nlower", "all"),
]
METHODS = ["copy-xy", "mean-shape", "surface-teacher", "dife-warmup", "dife", "catsxx"]


def many(categories):
    values = {name: [(5.0 + i, 4.5 + i, 5.5 + i)] * len(categories) for i, name in enumerate(METHODS)}
    notes = dict.fromkeys(METHODS, "+0.12")
    return [Panel(pair, categories, values, notes, "ρ") for pair in ("human+dog", "human+cat", "dog+cat")]


@pytest.mark.parametrize(
    "figure",
    [
        interval_chart(many(LANDMARKS), heading="h", note="n", ylabel="px of a 70-px crop", columns=1, height=1.7),
        interval_chart(many(["0–5", "5–12", "12–19", "19–29", "29–65"]), heading="h", note="n", xlabel="yaw"),
        interval_chart(many(["9 landmarks", "face, no key point there", "ears"]), heading="h", note="n"),
        heat_table(many(LANDMARKS), heading="h", note="n"),
        pck_chart([curves(), curves("human+cat"), curves("dog+cat")], heading="h", note="n", xlabel="threshold"),
    ],
    ids=["landmarks", "bins", "groups", "heat", "pck"],
)
def test_no_label_lies_on_another_or_outside(figure):
    assert overlaps(figure) == ([], [])


@pytest.mark.parametrize("draw", [interval_chart, heat_table, pck_chart])
def test_a_chart_of_nothing_is_refused(draw):
    empty = Panel("p", ["nose"], {"a": [None]})
    with pytest.raises(DataError, match="nothing to draw"):
        draw([] if draw is pck_chart else [empty], heading="h")
