"""The parts of the page. Each module turns `Facts` into one `Section`; none reads the store."""
