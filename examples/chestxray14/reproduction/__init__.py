"""`reproduce`: all cells of the study on one machine or many, and one report of them.

cells      which cells there are, and what each would cost
output     the output folder, and where each cell stands
shards     which cells are one command's
driver     give cells to an engine, and write down those that fail
engines/   where cells run
work       train and evaluate one cell
published  results that the 2025 report printed
cell_results  results and curves of every cell, in a few processes
results    the figures of a cell with their replicates
tables     results of the cells with their intervals, times, splits
differences  recipes side by side, setting by setting
costs      parameters and multiply–accumulates, the report's Table 4 beside ours
contrasts  cells that differ only in the factors of a question, compared on the same patients
answers    one sentence per question
factors    what tells one cell from another
pictures   curves, labels and boxes
maps       where the networks look, as pictures and against boxes
sections   sections of the report
progress   what is being done
report     one report.md and report.html
page       from Markdown to one HTML page
"""
