"""Engines, which run the cells of a study as tasks; none of them knows what a cell is.

task       a function that runs alone, with its output in a log; what every engine is
local      a process per task on this machine, started again when it is killed
ray_tasks  Ray's tasks, on one machine or many
devices    which GPU each process uses
"""
