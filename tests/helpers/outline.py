"""What a page is made of, without a browser."""

from html.parser import HTMLParser

VOID = {"meta", "link", "br", "img", "hr", "input"}


class Outline(HTMLParser):
    """Elements by tag, ids, and whether every element is closed where it should be."""

    def __init__(self, page):
        super().__init__()
        self.elements, self.open, self.ids = [], [], []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self.ids += [value for name, value in attrs if name == "id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self.ids += [value for name, value in attrs if name == "id"]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]

    def check_accessible(self):
        """Ids and names of regions are unique, links inside lead somewhere, what has no text has a name."""
        assert len(set(self.ids)) == len(self.ids)
        anchors = {one["href"] for one in self.all("a") if one["href"].startswith("#")}
        assert {one.removeprefix("#") for one in anchors} <= set(self.ids)
        assert len(self.all("h1")) == 1
        assert all(one["role"] == "img" and len(one["aria-label"]) > 20 for one in self.all("svg"))
        assert all(one["aria-label"] for one in self.all("audio"))
        scrolling = [attributes for _, attributes in self.elements if attributes.get("class") == "scroll"]
        assert scrolling and all(one["tabindex"] == "0" for one in scrolling)
        names = [one["aria-label"] for one in scrolling]
        assert len(set(names)) == len(names)
        assert all(one.get("scope") in {"row", "col"} for one in self.all("th"))
