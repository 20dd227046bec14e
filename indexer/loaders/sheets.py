"""Spreadsheets with calamine: XLSX, XLSB, ODS, and XLS of before 2007. One page a sheet, one line a row."""

import io
from datetime import datetime, time
from typing import Any

from indexer.errors import DocumentError
from indexer.loaders.extract import Extract
from indexer.loaders.markup import paragraph
from indexer.loaders.package import open_package
from indexer.loaders.table import table_sentences


def read_sheets(data: bytes) -> Extract:
    """Read every sheet, hidden ones included; formulas show their last computed value.

    Raises:
        DocumentError: the workbook is encrypted.
    """
    import python_calamine as calamine

    if data.startswith(b"PK"):
        open_package(data).close()  # calamine sets no limits of its own
    try:
        workbook = calamine.CalamineWorkbook.from_filelike(io.BytesIO(data))
        parts = tuple(_page(name, workbook.get_sheet_by_name(name).to_python()) for name in _tables(workbook))
    except calamine.PasswordError as error:
        raise DocumentError("it is encrypted with a password", "Save a copy without the password.") from error
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # Rust's, which is no Exception and cannot be imported
            raise
        raise DocumentError(f"it is damaged: {error}", "Save or copy it again.") from error
    return Extract(parts, metadata=(("sheets", str(len(parts))),), paged=True)


def _tables(workbook: Any) -> list[str]:
    """Sheets with cells: a chart on a sheet of its own has none."""
    return [sheet.name for sheet in workbook.sheets_metadata if "WorkSheet" in str(sheet.typ)]


def _page(name: str, values: list[list[Any]]) -> str:
    rows = [[_cell(value) for value in row] for row in values]
    used = sorted({index for row in rows for index, cell in enumerate(row) if cell})
    kept = [[row[index] for index in used] for row in rows if any(row)]
    if not kept:
        return ""
    if len(used) == 1:
        return "\n\n".join([f"# {name}", *(paragraph(row[0]) for row in kept)])
    return "\n".join([f"# {name}", "", *(f"- {line}" for line in table_sentences(kept))])


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.15g}"  # as many digits as Excel keeps: 0.1 + 0.2 shows as 0.3
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime) and value.time() == time.min:
        value = value.date()
    return " ".join(str(value).split())
