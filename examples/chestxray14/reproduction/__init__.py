"""`reproduce`: all cells of the study, shared by any number of processes and machines, and one report of them.

cells      which cells there are, and what each would cost
claims     who works on which cell
work       train and evaluate the cells that nobody has done
published  the figures that the report printed
tables     figures of the cells with their intervals, times, splits
costs      parameters and multiply–accumulates, the report's Table 4 beside ours
contrasts  cells that differ in what is asked and in nothing else, compared on the same patients
factors    what tells one cell from another
pictures   curves, labels and boxes
maps       where the networks look, as pictures and against boxes
write      one report.md and report.html
"""
