import pytest

from collab.grading.normal_form import RULES, normal

CASES = {
    "digits": ("128", "１２８", "１２９"),
    "colours": ("7", r"\color{red}{7}", r"\color{red}{8}"),
    "labels": ("7", r"\text{Answer: }7", r"\text{Answer: }17"),
    "marks in text": ("1,5", r"1\text{,}5", r"1\text{;}5"),
    "dashes": ("-3", "–3", "3"),
    "roots": (r"\sqrt{12}", "√12", "√1 2"),
    "fraction signs": (r"\frac{1}{2}", "½", "⅓"),
    "symbols": (r"2\pi", "2π", "2π²"),
    "escapes": (r"\frac{1}{2}", r"\\frac{1}{2}", r"\\frac{1}{3}"),
    "emphasis": ("42", "**42**", "4*2"),
    "frames": ("42", r"\fbox{42}", r"\fbox{4}2x"),
    "thousands": ("1200", r"1\,200", "1,20"),
    "currency": ("1,2", "$1$,$2$", "$12$"),
    "delimiters": ("x", r"\(x\)", r"\(y\)"),
    "spacing": ("(3,4)", r"\left(3,4\right)", r"\left[3,4\right)"),
    "fractions": (r"\frac{3}{4}", r"\tfrac{3}{4}", r"\tfrac{4}{3}"),
    "short fractions": (r"\frac{3}{4}", r"\frac34", r"\frac43"),
    "old fonts": (r"10_{two}", r"10_{\rm two}", r"10_{\rm six}"),
    "subscripts": (r"v_{max}", r"v_{\text{max}}", r"v_{\text{min}}"),
    "upright letters": ("3-i", r"3-\mathrm{i}", r"3+\mathrm{i}"),
    "imaginary unit": ("2 i", "2i", "2in"),
    "relations": (r"x\le 2", r"x\leqslant 2", "x<2"),
    "empty set": (r"\emptyset", r"\varnothing", r"\{0\}"),
    "decimal mark": ("9,8", "9{,}8", "98"),
    "named values": (r"\infty", r"\text{infinity}", r"\text{infinite}"),
    "e-notation": (r"3\times 10^{8}", "3e8", "3e-8"),
    "mixed numbers": (r"3\frac{1}{2}", "3 1/2", "3 5/2"),
    "full stop": ("42", "42.", "42.5"),
}


@pytest.mark.parametrize("name", [rule.name for rule in RULES])
def test_each_rule_joins_two_ways_of_writing_and_keeps_another_value_apart(name: str) -> None:
    one, same, other = (normal(text).replace(" ", "") for text in CASES[name])
    assert one == same
    assert one != other


@pytest.mark.parametrize("name", [rule.name for rule in RULES])
def test_each_rule_changes_the_text_that_it_is_for(name: str) -> None:
    rule = next(rule for rule in RULES if rule.name == name)
    text = {"mixed numbers": "3 1/2", "full stop": "42."}.get(name)
    text = text or {"spacing": r"\left(3"}.get(name) or CASES[name][1]
    assert rule.rewrite(text) != text
    assert rule.why


@pytest.mark.parametrize("text", [case for cases in CASES.values() for case in cases])
def test_the_normal_form_of_a_normal_form_is_itself(text: str) -> None:
    assert normal(normal(text)) == normal(text)
