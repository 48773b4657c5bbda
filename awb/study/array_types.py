"""Types of the numpy arrays of a study."""

import numpy as np
import numpy.typing as npt

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]
Strings = npt.NDArray[np.str_]
