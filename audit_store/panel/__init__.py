"""The panel beside a pair: what its guideline asks for, and what of it is stored."""

from audit_store.panel.build import PanelItem, PanelResult, PanelValue, panel, warm
from audit_store.panel.rules import RULES, Finding, Limits
from audit_store.panel.view import RowRef

__all__ = ["RULES", "Finding", "Limits", "PanelItem", "PanelResult", "PanelValue", "RowRef", "panel", "warm"]
