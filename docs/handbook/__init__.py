"""
The documentation as a site: what the pages of docs/ do not say themselves is written here from the code.

`site.py` hands MkDocs the pages that the other modules write; `markdown.py` and `links.py` read pages as a person on
GitHub and a browser do, for the site and for the tests.
"""
