package monotonic

import "C" // cnd_linux.c
