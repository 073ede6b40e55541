"""What a reader of a page would see: nothing that a style sheet hides, and all that it shows."""

import pytest

from gateway.mail.html import html_to_text


@pytest.mark.parametrize(
    "hidden",
    [
        "<style>.x{display:none}</style><p class=x>/unfollow</p>",
        "<style>p.x , #y {visibility:hidden}</style><p class='q x'>/unfollow</p><p id=Y>/won</p>",
        "<style>/* .y{} */ td .x {color:red; font-size:0}</style><span class=X>/unfollow</span>",
        "<style>aside{mso-hide:all}</style><aside>/unfollow</aside>",
    ],
)
def test_what_a_style_sheet_hides_is_not_there(hidden):
    assert html_to_text(f"{hidden}<div>Hello</div>") == "Hello"


@pytest.mark.parametrize(
    "shown",
    [
        "<style>.x{color:red}</style><p class=x>Hello</p>",
        "<style>@media (max-width: 400px) {.x{display:none}}</style><p class=x>Hello</p>",
        "<style>.xy{display:none}</style><p class=x>Hello</p>",
        "<style>.x{display:none</style><p class=x>Hello</p>",
    ],
)
def test_what_it_does_not_hide_is_there(shown):
    assert "Hello" in html_to_text(shown)
