"""Print on stdout: in colour on a terminal, as plain text elsewhere."""

import io

from rich.console import Console, RenderableType

PLAIN_WIDTH = 80


def print_view(view: RenderableType, *, width: int = PLAIN_WIDTH) -> None:
    """Print a table or text.

    A file or pipe gets it without colours and without spaces at the ends of lines, tables at most `width` wide.
    """
    console = Console()
    if isinstance(view, str):
        console.print(view, markup=False, highlight=False, soft_wrap=True)
    elif console.is_terminal:
        console.print(view)
    else:
        console.print(plain_text(view, width=width), end="", markup=False, highlight=False, soft_wrap=True)


def plain_text(view: RenderableType, *, width: int = PLAIN_WIDTH) -> str:
    """Return what is shown as plain text of at most `width` columns."""
    text = io.StringIO()
    Console(file=text, width=width, color_system=None).print(view)
    # Rich fills lines up with spaces, which nobody wants in a file.
    return "".join(line.rstrip() + "\n" for line in text.getvalue().splitlines())
