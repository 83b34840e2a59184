"""Does the report page do what it shows, in a real browser, with no request and no script of a record's making?"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests import browser as browsers
from tests import made, made_page
from tests.browser import Watched, findings, launched, open_everything, serious
from tests.command import PYTEST, run
from tests.made_page import HIT, HOSTILE
from tests.test_report_model import STATES
from touchstone.reports import model
from touchstone.reports.page import report as page
from touchstone.reports.records import Line

LOADS_WITHIN, FILTERS_WITHIN = 15.0, 2.0
"""Seconds for the page of 100,000 cases; 0.6 and 0.03 were measured on two shared cores."""


@pytest.fixture
def unchecked(browser: Browser) -> Iterator[Watched]:
    """Opens pages that are meant to go wrong."""
    found = Watched(browser)
    yield found
    found.close()


@pytest.fixture(scope="module")
def rich(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rich")
    return written(folder / "report.html", made_page.rich_page(folder / "records"))


def written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def shown_rows(opened: Page) -> list[str]:
    return opened.locator("#matrix tr[data-req]:not([hidden]) .id").all_inner_texts()


def cell(opened: Page, requirement: str, target: str) -> str:
    """A selector of the cell's button."""
    heads = opened.locator("#matrix thead th[data-col]").evaluate_all(
        "all => all.map(h => h.firstChild.firstChild.textContent)"
    )
    row = opened.locator("#matrix tr[data-req]", has=opened.locator(f".id:text-is('{requirement}')"))
    return f"#matrix button[data-req='{row.get_attribute('data-req')}'][data-col='{heads.index(target)}']"


def test_the_page_of_a_real_run(watched: Watched, tmp_path: Path) -> None:
    """The suites, the records and the page together, on two targets."""
    selection = ("suites/test_lookup.py", "-k", "test_special_values")
    targets = ("--adapter", "tests.hazards:Minimal", "--adapter", "tests.hazards:Faulty")
    done = run(*PYTEST, "-q", *selection, *targets, "--report", str(tmp_path))
    assert done.returncode == 1, done.stdout
    opened = watched.open(written(tmp_path / "page.html", page.render(model.load(tmp_path))))
    expect(opened.locator("h1")).to_have_text("6 cases deviate on faulty@cpu")
    assert shown_rows(opened) == ["EMB-BITS-1"]
    opened.click(cell(opened, "EMB-BITS-1", "faulty@cpu"))
    expect(opened.locator("dialog .case").first).to_contain_text("first difference at")
    expect(opened.locator("dialog .command code").first).to_contain_text("--adapter tests.hazards:Faulty@cpu")


def test_the_first_screen(watched: Watched, rich: Path) -> None:
    """What is red, on which target, since when; what was not run and why; what changed."""
    opened = watched.open(rich)
    expect(opened.locator("h1")).to_have_text("1 case deviates, 1 crashed on mlx@gpu")
    expect(opened.locator(".headline")).to_contain_text(
        "3 new (2 not comparable before), 1 changed, 1 fixed, 1 lost, 1 gained; in 1 part not compared"
    )
    expect(opened.locator(".headline")).to_contain_text("3 of 4 requirements asked, 3 cases deselected")
    row = opened.locator(".targets tr", has_text="mlx@gpu")
    expect(row).to_contain_text("deviates")
    assert row.locator("td.n").all_inner_texts()[:4] == ["15", "15", "12", "1"]
    assert row.locator(".night").count() == 6
    expect(opened.locator(".targets tr", has_text="mlx@cpu")).to_contain_text("no MLX here")
    expect(opened.locator("#attention li").first).to_contain_text("new tonight")
    expect(opened.locator("#changes")).to_contain_text("0.32.4")
    expect(opened.locator("#changes")).to_contain_text("not in the previous run")
    expect(opened.locator("#changes .kind", has_text="New: 2 cases")).to_contain_text("not comparable before")
    expect(opened.locator("#changes")).to_contain_text("1.7×")


def test_filters(watched: Watched, rich: Path) -> None:
    opened = watched.open(rich)
    said = opened.locator("#shown")
    assert said.get_attribute("aria-live") == "polite"
    expect(said).to_have_text("3 of 3 requirements, 61 cases")
    opened.fill("#f-text", "Nothing checks BOUNDS")  # the cause of a deviation
    assert shown_rows(opened) == ["EMB-1"]
    expect(said).to_have_text("1 of 3 requirements, 17 cases")
    opened.click("#filters [type=reset]")
    expect(said).to_have_text("3 of 3 requirements, 61 cases")

    opened.select_option("#f-layer", "raw lookup")
    assert shown_rows(opened) == ["EMB-1"]
    assert opened.locator(cell(opened, "EMB-1", "mlx@gpu")).inner_text().split("\n") == [
        "known deviation:",
        "foreign memory ×\xa01",
    ]
    opened.select_option("#f-layer", "")
    opened.select_option("#f-verdict", "unsupported")
    assert shown_rows(opened) == ["LIN-1"]
    expect(said).to_have_text("1 of 3 requirements, 1 case")
    opened.uncheck("#filters >> text=jax@cpu")
    assert shown_rows(opened) == []
    expect(opened.locator("#matrix th[data-col]", has_text="jax@cpu")).to_be_hidden()
    opened.select_option("#f-verdict", "red")
    assert shown_rows(opened) == ["EMB-1"]
    opened.click("#filters [type=reset]")
    opened.check("#f-differs")
    assert shown_rows(opened) == ["EMB-1", "LIN-1"]


def test_filters_and_cell_can_be_shared_as_a_link(watched: Watched, rich: Path) -> None:
    first = watched.open(rich)
    first.fill("#f-text", "emb")
    first.select_option("#f-verdict", "known deviation")
    first.uncheck("#filters >> text=torch@cpu")
    first.click(cell(first, "EMB-1", "mlx@gpu"))
    fragment = first.url.partition("#")[2]
    second = watched.open(rich, fragment)
    expect(second.locator("#cell-title")).to_have_text("EMB-1 on mlx@gpu")
    assert second.input_value("#f-text") == "emb"
    assert second.input_value("#f-verdict") == "known deviation"
    assert not second.is_checked("#filters >> text=torch@cpu")
    assert shown_rows(second) == ["EMB-1"]
    assert shown_rows(watched.open(rich, "cell=none~none&verdict=none&layer=none&without=none")) == shown_rows(
        watched.open(rich)
    )


def test_labels_with_commas_can_be_shared_too(watched: Watched, tmp_path: Path) -> None:
    columns = {name: made_page.replace(made.MACHINE, chip=name, id=name) for name in ("a, b", "a", "b")}
    for name, machine in columns.items():
        made.folder(tmp_path / name, made.whole(name, machine=machine))
    path = written(tmp_path / "page.html", page.render(model.load([tmp_path / name for name in columns])))
    first = watched.open(path)
    for name in ("a, b", "b"):
        first.get_by_label(f"mlx@gpu · macOS 15 · {name}", exact=True).uncheck()
    second = watched.open(path, first.url.partition("#")[2])
    checked = second.locator("#filters [name=target]").evaluate_all("all => all.map(b => b.checked)")
    labels = second.locator("#filters fieldset label").all_inner_texts()
    assert [t.strip() for t, c in zip(labels, checked, strict=True) if c] == ["mlx@gpu · macOS 15 · a"]


def top_of(opened: Page, section: str) -> float:
    """Where the section begins, in pixels below the top of the window."""
    return float(opened.locator(f"#{section}").evaluate("s => s.getBoundingClientRect().top"))


def test_a_link_to_a_section_opens_it(watched: Watched, rich: Path) -> None:
    opened = watched.open(rich, "moving")
    assert opened.url.endswith("#moving")
    assert 0 <= top_of(opened, "moving") < 100
    opened.click("nav >> text=Matrix")
    assert opened.url.endswith("#matrix")
    opened.go_back()
    expect(opened).to_have_url(re.compile("#moving$"))


def test_a_link_to_a_section_keeps_the_filters(watched: Watched, rich: Path) -> None:
    opened = watched.open(rich)
    opened.fill("#f-text", "emb")
    opened.click("nav >> text=Moving")
    expect(opened).to_have_url(re.compile(r"#(?=.*section=moving)(?=.*q=emb)"))
    assert 0 <= top_of(opened, "moving") < 100
    opened.reload()
    assert opened.input_value("#f-text") == "emb"
    shared = watched.open(rich, opened.url.partition("#")[2])
    assert shown_rows(shared) == ["EMB-1"]
    assert 0 <= top_of(shared, "moving") < 100
    shared.evaluate("location.hash = 'section=matrix&q=lin'")  # another view, as pasted into the address
    expect(shared.locator("#f-text")).to_have_value("lin")
    shared.fill("#f-text", "")
    expect(shared).to_have_url(re.compile("#matrix$"))


@pytest.mark.parametrize("key", ["Enter", "Space", None])
def test_a_cell_opens_and_focus_returns(key: str | None, watched: Watched, rich: Path) -> None:
    opened = watched.open(rich)
    button = opened.locator(cell(opened, "EMB-1", "mlx@gpu"))
    if key:
        button.focus()
        opened.keyboard.press(key)
    else:
        button.click()
    dialog = opened.locator("dialog")
    expect(dialog).to_be_visible()
    expect(dialog.locator(".close")).to_be_focused()
    opened.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(button).to_be_focused()
    expect(opened).not_to_have_url(re.compile("cell="))


def test_the_cases_of_a_cell(watched: Watched, rich: Path) -> None:
    """Worst first, with everything that a reader may want to know of them."""
    opened = watched.open(rich)
    opened.click(cell(opened, "EMB-1", "mlx@gpu"))
    dialog = opened.locator("dialog")
    assert dialog.locator(".outcome h3").all_inner_texts() == [
        "wrong bits · 1 case deviates",
        "crashed · 1 case",
        "foreign memory · 1 case known deviation",
        "exact · 1 case conforms",
    ]
    worst = dialog.locator(".case").first
    for text in (
        "2.5 of bound",
        "got 1.5, want 1.25",
        "[3, 4]",
        "0.0025",
        "0.001",
        "float32, shape 8 × 8",
        "new tonight",
    ):
        expect(worst).to_contain_text(text)
    known = dialog.locator(".outcome", has_text="foreign memory")
    known.locator("summary").click()
    for text in ("Nothing checks the bounds.", "Check ids first.", "for 12 nights, since 2026-11-09"):
        expect(known).to_contain_text(text)
    expect(known.locator(".command code").last).to_have_text("pytest 'suites/test_emb.py::test_it[mlx@gpu-raw]'")
    known.locator(".command button").last.click()
    expect(known.locator(".command button").last).to_have_text("Copied")
    dialog.locator(".others button", has_text="jax@cpu").click()
    expect(opened.locator("#cell-title")).to_have_text("EMB-1 on jax@cpu")
    expect(dialog).to_contain_text("NaN row")
    dialog.locator(".close").click()
    opened.click(cell(opened, "LIN-1", "mlx@gpu"))
    expect(dialog.locator("a[href='https://example.org/pin']")).to_be_visible()
    opened.keyboard.press("Escape")
    opened.click(cell(opened, "LIN-1", "jax@cpu"))
    expect(dialog).to_contain_text("no float16")


def test_a_cell_shows_the_cases_that_the_filter_leaves(watched: Watched, rich: Path) -> None:
    opened = watched.open(rich)
    button = cell(opened, "EMB-1", "mlx@gpu")
    dialog = opened.locator("dialog")
    for text, shown in {"raw": 1, "EMB-1 rows": 4, "checks BOUNDS": 1, "wrong": 1, "embedding crashed": 1}.items():
        opened.fill("#f-text", text)
        opened.click(button)
        assert dialog.locator(".case").count() == shown, text
        said = dialog.locator(".sub")
        if shown < 4:
            expect(said).to_have_text(f"{shown} of 4 cases shown by the filter “{text}”.")
        else:
            assert said.count() == 0
        opened.keyboard.press("Escape")
    opened.fill("#f-text", "NaN row")  # of jax@cpu alone
    opened.click(button)
    expect(dialog.locator(".sub")).to_have_text("0 of 4 cases shown by the filter “NaN row”: here are all.")
    assert dialog.locator(".case").count() == 4
    opened.keyboard.press("Escape")
    opened.fill("#f-text", "bits")
    opened.select_option("#f-layer", "embedding")
    opened.click(button)
    expect(dialog.locator(".sub")).to_have_text("1 of 4 cases shown by the filter “embedding” and “bits”.")


def test_a_command_is_shown_as_it_is(watched: Watched, tmp_path: Path) -> None:
    """Whatever its id holds, such as what JavaScript's `replace` would read as a pattern."""
    case = made.end("$&-$$-$`", **made.DEVIATES)
    lines = made.whole("run1", case)
    opened = watched.open(written(tmp_path / "page.html", page.render(model.load(made.folder(tmp_path / "r", lines)))))
    opened.click(cell(opened, "EMB-1", "mlx@gpu"))
    expect(opened.locator("dialog .command code").first).to_have_text(case.rerun)


def test_moving_from_one_target_to_another(watched: Watched, rich: Path) -> None:
    opened = watched.open(rich)
    titles = opened.locator("#differences h3")
    assert opened.input_value("#f-from") != opened.input_value("#f-to")
    expect(opened.locator("#pair-said")).to_have_text("15 cases compared: 4 differences in 4 cases")
    assert [t.split(" ")[0] for t in titles.all_inner_texts()] == ["Silently", "Crashes", "Other"]
    expect(opened.locator(".severity.silent .difference").first).to_contain_text("Check ids first.")
    opened.locator(".severity.silent .difference summary").first.click()
    example = opened.locator(".severity.silent .difference").first
    expect(example).to_contain_text("index 9 of 8 rows")
    expect(example).to_contain_text("test_it[torch@cpu-raw]")
    opened.click("#f-swap")
    assert [t.split(" ")[0] for t in titles.all_inner_texts()] == ["Other", "Better"]
    opened.select_option("#f-to", "jax@cpu")
    assert [t.split(" ")[0] for t in titles.all_inner_texts()] == ["Not", "Better"]
    expect(opened.locator(".severity.unavailable")).to_contain_text("no float16")
    opened.locator(".severity.better .open").first.click()
    expect(opened.locator("#cell-title")).to_have_text("EMB-1 on jax@cpu")
    opened.keyboard.press("Escape")
    opened.select_option("#f-to", "mlx@cpu")
    expect(opened.locator("#pair-said")).to_contain_text("share no case")
    assert "from=mlx%40gpu" in opened.url


def test_plots_are_named_and_need_no_script(watched: Watched, rich: Path) -> None:
    opened = watched.open(rich, java_script_enabled=False)
    expect(opened.locator("#headroom svg[aria-label*='mlx@gpu: largest 2.5 of its bound']")).to_be_visible()
    assert opened.locator("#quantization figure").count() == 4
    expect(opened.locator("#quantization svg[aria-label*='error of each scheme']").first).to_be_visible()
    speed = opened.locator("#speed tr", has_text="embedding")
    for text in ("1×", "1.4×", "20×"):
        expect(speed).to_contain_text(text)
    opened.locator("#speed summary").first.click()
    for text in ("1×", "1.4×", "20×", "10 µs", "10 GB/s, 50% of copy"):
        expect(opened.locator("#speed tr", has_text="decode")).to_contain_text(text)
    expect(opened.locator("#matrix")).to_contain_text("raises IndexError")
    expect(opened.locator("#filters")).to_be_hidden()


COLOURS = {
    "conforms": "1d6b40",
    "deviates": "b02318",
    "unreviewed": "6a3d9c",
    "incomplete": "9a4600",
    "empty": "9a4600",
}


@pytest.mark.parametrize("name", STATES)
def test_only_a_whole_reviewed_run_looks_green(name: str, tmp_path: Path) -> None:
    """In the headline, the row of its target and the icon of the tab; every other state has its own icon and word."""
    lines, state = STATES[name]
    text = page.render(model.load(made.folder(tmp_path, lines)))
    headline = text.partition('<div class="headline ')[2].partition("</div>\n</div>")[0]
    green = headline.startswith("ok") or "i-check" in headline or f"fill='%23{COLOURS['conforms']}'" in text
    assert green == (state == "conforms")
    assert f'<p class="word">{state}</p>' in headline
    assert f"fill='%23{COLOURS[state]}'" in text


def test_a_run_that_died_names_the_case_in_flight(watched: Watched, tmp_path: Path) -> None:
    lines, _ = STATES["a case in flight"]
    opened = watched.open(written(tmp_path / "page.html", page.render(model.load(made.folder(tmp_path / "r", lines)))))
    expect(opened.locator("#problems")).to_contain_text(made.case("c"))
    expect(opened.locator(cell(opened, "EMB-1", "mlx@gpu"))).to_contain_text("no answer ×\xa01")
    opened.click(cell(opened, "EMB-1", "mlx@gpu"))
    expect(opened.locator("dialog .outcome").first).to_contain_text("in flight")


@pytest.mark.parametrize("name", ["no case at all", "a record is missing"])
def test_pages_of_almost_nothing(name: str, watched: Watched, tmp_path: Path) -> None:
    nothing: list[Line] = [made.run_line(planned={}), made.finish(exit_status=5)]
    lines = nothing if name == "no case at all" else STATES[name][0]
    opened = watched.open(written(tmp_path / "page.html", page.render(model.load(made.folder(tmp_path / "r", lines)))))
    word = "empty" if name == "no case at all" else "incomplete"
    expect(opened.locator(".headline .word")).to_have_text(word)
    assert serious(findings(opened)) == []


def test_one_target_on_two_machines(watched: Watched, tmp_path: Path) -> None:
    other = made_page.replace(made.MACHINE, id="bbbbbbbbbbbb", chip="Apple M4", os="macOS 26.1")
    made.folder(tmp_path / "a", made.whole())
    second = made.whole("run2", made.end("a", run="run2", **made.DEVIATES), machine=other)
    made.folder(tmp_path / "b", second)
    report = model.load([tmp_path / "a", tmp_path / "b"])
    opened = watched.open(written(tmp_path / "page.html", page.render(report)))
    labels = opened.locator("#f-from option").all_inner_texts()
    assert labels == ["mlx@gpu · macOS 15", "mlx@gpu · macOS 26"]
    expect(opened.locator("#pair-said")).to_have_text("4 cases compared: 1 difference in 1 case")
    opened.click(cell(opened, "EMB-1", "mlx@gpu · macOS 26"))
    expect(opened.locator("dialog")).to_contain_text("wrong bits")


def test_one_target_alone_moves_nowhere(watched: Watched, tmp_path: Path) -> None:
    """Nor does one beside a target that was not there."""
    targets = {"mlx@gpu": made.target("mlx@gpu"), "torch@cpu": made.target("torch@cpu", unavailable="no PyTorch here")}
    lines = made.whole(targets=targets)
    opened = watched.open(written(tmp_path / "page.html", page.render(model.load(made.folder(tmp_path / "r", lines)))))
    assert opened.locator("#moving, a[href='#moving']").count() == 0
    opened.fill("#f-text", "lin")
    assert shown_rows(opened) == ["LIN-1"]


def test_a_target_that_supports_nothing_is_named(watched: Watched, tmp_path: Path) -> None:
    """One that was asked nothing as well; neither is green or a fault."""
    names = ("mlx@gpu", "torch@cpu", "jax@cpu")
    refused = made.end("a", target="torch@cpu", verdict="unsupported", behaviour="unsupported", note="no float16")
    lines = made.whole(
        "run1", refused, targets={n: made.target(n) for n in names}, planned={"mlx@gpu": 4, "torch@cpu": 1}
    )
    opened = watched.open(written(tmp_path / "page.html", page.render(model.load(made.folder(tmp_path / "r", lines)))))
    for name in names[1:]:
        expect(opened.locator(".targets tr", has_text=name).locator(".v.none")).to_have_text("unsupported")
    said = opened.locator("details.box", has_text="what this page says nothing about")
    said.locator("summary").click()
    expect(said).to_contain_text("1 case: no float16")
    expect(said).to_contain_text("no case is planned for it")


def use_everything(opened: Page) -> None:
    """Open every cell, group and example, and use every filter."""
    open_everything(opened)
    for button in opened.locator("#matrix button.cell").all():
        button.press("Enter")
        opened.evaluate("for (const d of document.querySelectorAll('dialog details')) d.open = true")
        opened.keyboard.press("Escape")
    opened.fill("#f-text", "script")
    opened.select_option("#f-to", index=0)
    opened.select_option("#f-from", index=1)
    open_everything(opened)


def executed(opened: Page) -> bool:
    """Whether a text of the records became a script, or markup that could."""
    elements = "img, iframe, object, embed, form[action], a[href^='javascript'], svg[onload], [onerror]"
    return bool(opened.evaluate("window.hit")) or opened.locator(elements).count() > 0


def test_hostile_strings_are_shown_and_not_executed(watched: Watched, tmp_path: Path) -> None:
    opened = watched.open(written(tmp_path / "page.html", made_page.hostile_page(tmp_path / "r")))
    use_everything(opened)
    assert not executed(opened)
    text = opened.locator("body").inner_text()
    assert "<img src=x onerror=" in text
    assert "{{7*7}}" in text
    assert "⟨U+202E⟩" in text
    assert not re.search("[\x00\x1b\u202e]", opened.content())


def unescaped(text: str) -> str:
    """The page as it would be if one template variable were not escaped."""
    escaped = f"Run of {made.run_line().started[:10]}"
    assert escaped in text
    return text.replace(escaped, HOSTILE, 1)


def without_policy(text: str) -> str:
    found = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", text)
    assert found != text
    return found


def test_that_an_unescaped_string_would_be_seen(unchecked: Watched, rich: Path, tmp_path: Path) -> None:
    """The check can fail; and where escaping fails, the page's policy still runs no script, and says so."""
    text = unescaped(rich.read_text(encoding="utf-8"))
    opened = unchecked.open(written(tmp_path / "open.html", without_policy(text)))
    assert opened.evaluate("window.hit") == 1
    assert executed(opened)
    guarded = unchecked.open(written(tmp_path / "guarded.html", text))
    assert guarded.evaluate("window.hit") is None
    assert any("Content Security Policy" in line for line in unchecked.log.errors)


def test_that_a_request_and_an_error_would_be_seen(unchecked: Watched, rich: Path, tmp_path: Path) -> None:
    planted = '<img src="https://example.org/x.png" alt=""><script>undefined.x</script></body>'
    text = rich.read_text(encoding="utf-8").replace("</body>", planted)
    unchecked.open(written(tmp_path / "page.html", without_policy(text)))
    assert unchecked.log.requests == ["https://example.org/x.png"]
    assert any("undefined" in line for line in unchecked.log.errors)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_is_accessible(scheme: str, watched: Watched, rich: Path) -> None:
    """As a whole with every part unfolded, which includes the view of moves, and with a cell open."""
    opened = watched.open(rich, color_scheme=scheme)
    open_everything(opened)
    assert findings(opened) == []
    opened.click(cell(opened, "EMB-1", "mlx@gpu"))
    assert findings(opened) == []


def test_that_an_inaccessible_page_would_be_seen(unchecked: Watched, rich: Path, tmp_path: Path) -> None:
    planted = '<button></button><p style="color: #eee; background: #fff">pale</p></main>'
    text = rich.read_text(encoding="utf-8").replace("</main>", planted)
    rules = {line.split()[1] for line in serious(findings(unchecked.open(written(tmp_path / "page.html", text))))}
    assert {"button-name:", "color-contrast:"} <= rules


def lightness(opened: Page) -> int:
    """Of the page's background, 0 to 255."""
    colour = opened.evaluate("getComputedStyle(document.body).backgroundColor")
    return sum(map(int, re.findall(r"\d+", colour)[:3])) // 3


def test_light_and_dark(watched: Watched, rich: Path) -> None:
    """As the system has it, until the button says otherwise."""
    opened = watched.open(rich, color_scheme="dark")
    assert lightness(opened) < 60
    button = opened.locator("#theme")
    button.click()
    expect(button).to_have_text("Theme: light")
    assert lightness(opened) > 200
    opened.reload()
    assert lightness(opened) > 200
    button.click()
    assert lightness(opened) < 60
    button.click()
    expect(button).to_have_text("Theme: system")
    assert lightness(watched.open(rich)) > 200


@pytest.mark.parametrize("name", ["rich", "hostile"])
def test_a_phone_shows_it_all_without_sideways_scrolling(
    name: str, watched: Watched, rich: Path, tmp_path: Path
) -> None:
    hostile = written(tmp_path / "page.html", made_page.hostile_page(tmp_path / "r"))
    path = {"rich": rich, "hostile": hostile}[name]
    opened = watched.open(path, viewport={"width": 390, "height": 844})
    open_everything(opened)
    assert opened.evaluate("document.documentElement.scrollWidth") <= 390
    opened.locator("#matrix button.cell").first.click()
    dialog = opened.locator("dialog")
    assert dialog.evaluate("d => [d.getBoundingClientRect().left, d.scrollWidth <= d.clientWidth]") == [0, True]


def test_print(watched: Watched, rich: Path) -> None:
    """No controls, nothing cut off, dark ink on white, folded parts included."""
    opened = watched.open(rich, color_scheme="dark")
    opened.emulate_media(media="print")
    for hidden in ("nav", "#theme", "#filters", "#pair", ".skip"):
        expect(opened.locator(hidden)).to_be_hidden()
    for whole in opened.locator(".scroll").all():
        assert whole.evaluate("s => getComputedStyle(s).overflow") == "visible"
    assert lightness(opened) > 200
    opened.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert opened.locator("main details:not([open])").count() == 0
    opened.evaluate("dispatchEvent(new Event('afterprint'))")
    assert opened.locator("main details:not([open])").count() > 0
    assert len(opened.pdf()) > 10_000


def test_ten_thousand_cases_take_less_than_2_MB() -> None:
    assert len(page.render(made_page.large(10_000)).encode()) < 2_000_000


def test_a_hundred_thousand_cases_stay_usable(watched: Watched, tmp_path: Path) -> None:
    path = written(tmp_path / "page.html", page.render(made_page.large(100_000)))
    opened = watched.open(path)
    loaded = opened.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd / 1000")
    assert 0 < loaded < LOADS_WITHIN
    took = opened.evaluate(
        "() => { const start = performance.now(); const field = document.getElementById('f-text');"
        "field.value = 'v+77'; field.dispatchEvent(new Event('input', { bubbles: true }));"
        "return (performance.now() - start) / 1000; }"
    )
    assert took < FILTERS_WITHIN
    assert 0 < len(shown_rows(opened)) <= 80
    opened.click("#filters [type=reset]")
    opened.click(cell(opened, "REQ-0", "mlx@gpu"))
    assert opened.locator("dialog .case").count() <= 40
    before = opened.locator("dialog .case").count()
    opened.locator("dialog .outcome button:has-text('more')").first.click()
    assert before < opened.locator("dialog .case").count() <= 140


def test_chromium_is_found_or_asked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A browser that is asked for and not there is an error; without one anywhere, tests are skipped."""
    monkeypatch.setenv("TOUCHSTONE_BROWSER", str(tmp_path / "none"))
    with pytest.raises(browsers.BrowserError, match="no such program"):
        browsers.executable()
    mine = written(tmp_path / "chromium", "#!/bin/sh\n")
    mine.chmod(0o755)
    monkeypatch.setenv("TOUCHSTONE_BROWSER", str(mine))
    assert browsers.executable() == str(mine)
    monkeypatch.delenv("TOUCHSTONE_BROWSER")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert browsers.executable() == str(mine)
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(browsers, "MAC", ())
    with pytest.raises(pytest.skip.Exception, match="no Chromium found"), launched():
        pass


def test_the_policy_pins_the_scripts(rich: Path) -> None:
    """Scripts run by their hash alone; the data is no script."""
    text = rich.read_text(encoding="utf-8")
    rule = re.search(r'Content-Security-Policy" content="([^"]*)"', text)
    assert rule
    assert "unsafe-inline" not in rule[1].partition("script-src")[2].partition(";")[0]
    assert f"{HIT}" not in text
