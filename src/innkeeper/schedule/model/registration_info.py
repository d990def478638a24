"""Origin of a definition: author, date, description."""

from __future__ import annotations

import dataclasses

from innkeeper.schedule.boundary import Boundary
from innkeeper.schedule.xml import forms
from innkeeper.schedule.xml.element import Element, element


@dataclasses.dataclass(kw_only=True, slots=True)
class RegistrationInfo(Element):
    """Origin of a definition (``IRegistrationInfo``); localised ``$(@dll,-id)`` texts are kept."""

    #: When it was registered (``Date``).
    date: Boundary | None = element("Date", forms.BOUNDARY)
    #: ``Author``.
    author: str | None = element("Author", forms.text())
    #: ``Version``, free text.
    version: str | None = element("Version", forms.text())
    #: ``Description``.
    description: str | None = element("Description", forms.text())
    #: ``Documentation``.
    documentation: str | None = element("Documentation", forms.text())
    #: Its path (``URI``).
    uri: str | None = element("URI", forms.text())
    #: ``SecurityDescriptor``, in SDDL.
    security_descriptor: str | None = element("SecurityDescriptor", forms.text())
    #: The program that made it (``Source``).
    source: str | None = element("Source", forms.text())
