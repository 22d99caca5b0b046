/* Stand-in for the RoCC instruction macros: gemmini.h includes this file by name. See carat_rocc.h. */
#include "carat_rocc.h"
