from tests.import_forms import Row

ROWS: tuple[Row, ...] = ()
