"""The mathematics of the figures: nothing lies outside its axes, no label over another, no mark without a name."""

from __future__ import annotations

import itertools
import re
from types import SimpleNamespace

import numpy as np
import pytest
from synthetic_cells import LEVELS, build

from tokgraft.cells import load_cells
from tokgraft.frame import read_frame
from tokgraft.reporting import figures, ranking, style
from tokgraft.reporting.sections import sections

# bits per byte (init, trained) of three situations that went wrong: the control far from the rest, init and trained close to each other,
# and more methods than there are colours
ORIGINAL_FAR = {"none": (5.88, 3.87), "random": (15.78, 2.88), "mean": (4.62, 2.61), "focus": (4.2, 2.45)}
CLOSE = {"none": (1.71, 1.70), "random": (1.75, 1.74), "mean": (1.72, 1.72), "mean+prior": (1.71, 1.705)}
REFINERS = ("", "+prior", "+prior+readout", "+clip", "+clip+prior+readout")
MANY = {f"{name}{refiner}": (3 + 0.1 * place, 2 + 0.01 * place) for place, (name, refiner) in enumerate(
    itertools.product(("random", "mean", "trans_tokenization"), REFINERS))} | {"none": (15.8, 1.2)}  # fmt: skip


@pytest.fixture(scope="module", params=["original far", "close", "many"])
def drawn(request, tmp_path_factory):
    """Name -> matplotlib figure of every figure of a report."""
    levels = {"original far": ORIGINAL_FAR, "close": CLOSE, "many": MANY}[request.param]
    root, found = tmp_path_factory.mktemp("drawn"), {}

    def keep(figure, folder, name, *more):
        figure.draw_without_rendering()
        figure.set_layout_engine("none")
        found[name] = figure
        return ""

    with pytest.MonkeyPatch.context() as patch:
        for method, both in levels.items():
            patch.setitem(LEVELS, method, both)
        patch.setattr(figures, "save", keep)
        patch.setattr(ranking, "save", keep)
        listing = build(root, [("pocket", "deu_Latn", list(levels))], pages=8)
        patch.chdir(root)
        frame = read_frame(load_cells(listing))
        places = sections(frame, [])
        on = figures.canvas(root, places)
        for place in places:
            drawings = (figures.before_and_after, figures.learning_curves, figures.tasks)
            for draw in drawings:
                draw(on, place)
            figures.learning_curves(on, place, english=True)
            for cost in ("flops", "tokens"):
                figures.against_cost(on, place, cost)
        figures.tokenizers(on, places)
        for one in ranking.rankings(frame):
            ranking.figure(on, one)
    return SimpleNamespace(figures=found, levels=levels)


def texts(figure):
    """(text, box in pixels) of everything that is written in a figure."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.text import Text

    renderer = FigureCanvasAgg(figure).get_renderer()
    ticks = {id(tick.label1): axis for ax in figure.axes for axis in (ax.xaxis, ax.yaxis) for tick in axis.get_major_ticks()}
    for one in figure.findobj(Text):
        if not one.get_text().strip() or not one.get_visible():
            continue
        axis = ticks.get(id(one))
        if axis is not None:
            at, ends = one.get_position()[axis.axis_name == "y"], sorted(axis.get_view_interval())
            if not ends[0] - 1e-9 <= at <= ends[1] + 1e-9:
                continue  # a tick outside of the axis is not drawn
        yield one.get_text(), Text.get_window_extent(one, renderer)  # of the words alone, without the line to a point


def test_no_text_lies_over_another_or_leaves_the_figure(drawn):
    seen = 0
    for name, figure in drawn.figures.items():
        width, height = figure.get_size_inches() * figure.dpi
        found = list(texts(figure))
        seen += len(found)
        for text, box in found:
            inside = box.x0 > -1 and box.y0 > -1 and box.x1 < width + 1 and box.y1 < height + 1
            assert inside, f"{name}: {text!r} leaves the figure: {box} of {width} x {height}"
        for (one, a), (other, b) in itertools.combinations(found, 2):
            across, down = min(a.x1, b.x1) - max(a.x0, b.x0), min(a.y1, b.y1) - max(a.y0, b.y0)
            assert not (across > 1 and down > 1), f"{name}: {one!r} lies over {other!r}"
    assert seen > 80


def test_everything_drawn_lies_within_the_axes_and_bits_never_below_zero(drawn):
    for name, figure in drawn.figures.items():
        for ax in figure.axes:
            (left, right), (bottom, top) = ax.get_xlim(), ax.get_ylim()
            assert left >= 0, f"{name}: the axis begins at {left}"
            if name.startswith(("cost", "curve", "english")):
                assert bottom >= 0, f"{name}: the axis begins at {bottom}"
            for line in ax.get_lines():
                if line.get_transform() != ax.transData:
                    continue  # a line across the whole figure
                xs, ys = (np.asarray(values, dtype=float) for values in line.get_data())
                where = f"{name}: {line.get_gid()} at {xs}, {ys}"
                assert (xs >= left - 1e-9).all() and (xs <= right + 1e-9).all(), where
                assert (ys >= bottom - 1e-9).all() and (ys <= top + 1e-9).all(), where


def test_every_method_has_its_name_in_every_figure(drawn):
    """As a label, or in the legend; no mark is told apart by its colour alone."""
    bare = {re.sub(r"\s", "", method) for method in drawn.levels}
    checked = 0
    for name, figure in drawn.figures.items():
        if not name.startswith(("bits", "cost", "curve", "english", "tasks")):
            continue
        written = [re.sub(r"\s", "", text) for text, _ in texts(figure)]
        for method in bare:
            pattern = re.compile(re.escape(method) + r"(\d+\.\d+)?")
            assert any(pattern.fullmatch(text) for text in written), f"{name} does not name {method}: {written}"
        checked += 1
    assert checked == 6
    looks = style.look(list(drawn.levels), "none")
    assert len(set(looks.values())) == len(looks)


def test_before_and_after_writes_both_numbers_of_every_method(drawn):
    (figure,) = [figure for name, figure in drawn.figures.items() if name.startswith("bits")]
    numbers = [text for text, _ in texts(figure) if re.fullmatch(r"\d+\.\d\d", text)]
    assert len(numbers) >= 2 * len(drawn.levels)
    words = " ".join(text for text, _ in texts(figure))
    assert all(
        word in words for word in ("right after the transplant", "after training", "95% interval", "uniform baseline", "untouched original")
    )


@pytest.mark.parametrize("ends", [[1.2, 15.8], [0.0, 9.0], [2.0, 2.0], [0.0, 0.0], [0.02, 0.03], [1.9, 2.1, 2.6], [1e-3, 40.0]])
def test_limits_of_bits_per_byte_hold_all_and_never_go_below_zero(ends):
    low, high, logarithmic = style.bits_limits(ends)
    assert 0 <= low < high and low <= min(ends) and high >= max(ends)
    assert logarithmic == (min(ends) > 0 and max(ends) > 4 * min(ends)) and (low > 0 or not logarithmic)
    assert high <= max(ends) * 1.8 + 0.2, "most of the axis is used"


def test_colours_can_be_told_from_the_ground_and_words_read():
    """WCAG 2: 3:1 for marks, 4.5:1 for text, on both grounds of the page."""

    def light(colour):
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        return np.dot([0.2126, 0.7152, 0.0722], [x / 12.92 if x <= 0.03928 else ((x + 0.055) / 1.055) ** 2.4 for x in parts])

    def contrast(one, other):
        dark, bright = sorted((light(one), light(other)))
        return (bright + 0.05) / (dark + 0.05)

    for dark in (0, 1):
        paper, wash = style.GROUND["paper"][dark], style.GROUND["wash"][dark]
        for pair in (*style.SERIES, style.CONTROL_COLOUR):
            assert contrast(pair[dark], paper) >= 3, pair
        for name in ("ink", "muted"):
            assert min(contrast(style.GROUND[name][dark], ground) for ground in (paper, wash)) >= 4.5, name
        for name in ("good", "bad"):
            assert contrast(style.GROUND[name][dark], style.GROUND[f"{name}-wash"][dark]) >= 4.5, name
            assert contrast(style.GROUND[name][dark], paper) >= 4.5, name


def test_long_names_break_where_the_parts_of_a_chain_meet():
    assert style.wrapped("trans_tokenization+clip+prior+readout") == "trans_tokenization\n+clip+prior+readout"
    assert (
        style.wrapped("mean+prior") == "mean+prior"
        and style.wrapped("trans_tokenization · unigram32k") == "trans_tokenization ·\nunigram32k"
    )
