"""`reproduce`: all cells of the study, shared by any number of processes and machines, and one report of them.

cells      which cells there are, and what each would cost
claims     who works on which cell
work       train and evaluate the cells that nobody has done
published  the figures that the report printed
tables     the report's tables, its figures beside ours
contrasts  cells that differ in one thing, compared on the same patients
pictures   curves, labels, boxes and maps
write      one report.md and report.html
"""
