from __future__ import annotations

from tokgraft.corpus.sources._help_html import parse

BODY = """<p id="par_before">outside</p><div id="DisplayArea">
<h1 id="hd_1" dir="auto">The  Navigator</h1>
<p id="par_2" class="paragraph">Press <span class="switchinline"><span hidden="true" class="MAC"><span class="keycode">Command</span></span>
<span hidden="true" id="default_x"><span class="keycode">Ctrl</span></span></span><span class="keycode">+F</span> &amp; go<br>on&nbsp;now.</p>
<ul><li itemprop="x"><p id="par_3" class="listitem">An <a href="x">item</a></p></li></ul>
<table><tr><td><p id="par_4" class="tablecontentintable">Cell</p></td></tr></table>
<p id="par_4">Twice</p><p id="par_4">Thrice</p>
<p class="related">See also</p><div class="embedded"><p class="embedded"><a href="y">Link</a></p></div>
<p id="par_5" class="code">Print 1</p><p id="par_6"><img src="a.png" alt="alt text"></p><p>no id</p>
<p id="par_7">Open <span class="switchinline"><span class="WRITER">writer</span><span class="CALC">calc</span></span>!</p>
</div><footer><div id="DEBUG" class="debug"><h3 class="bug">Debug</h3><p id="bm_system">x</p></div></footer>"""


def test_paragraphs_with_keys_places_and_text() -> None:
    paragraphs, _ = parse(f"<html><body>{BODY}</body></html>")
    assert [(paragraph.key, paragraph.text) for paragraph in paragraphs] == [
        ("h1:hd_1:0", "The Navigator"),
        ("p:par_2:0", "Press Ctrl+F & go on\u00a0now."),
        ("p:par_3:0", "An item"),
        ("p:par_4:0", "Cell"),
        ("p:par_4:1", "Twice"),
        ("p:par_4:2", "Thrice"),
        ("p:par_7:0", "Open writer!"),
    ]
    assert [paragraph.at for paragraph in paragraphs] == [0, 1, 2, 3, 4, 5, 11]
    assert paragraphs[0].tag == "h1"


def test_what_is_left_out_has_a_reason() -> None:
    _, drops = parse(BODY)
    assert drops.paragraphs == {"link": 2, "code": 1, "image_only": 1, "interface": 1}


def test_a_page_without_the_display_area_is_empty() -> None:
    assert parse("<html><p id='a'>text</p></html>")[0] == []


def test_an_unclosed_page_does_not_lose_its_last_paragraph() -> None:
    assert [paragraph.text for paragraph in parse('<div id="DisplayArea"><p id="a">cut <span class="emph">off')[0]] == ["cut off"]
