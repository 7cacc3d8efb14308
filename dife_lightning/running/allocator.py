"""Keep freed memory for the next step of a training on a CPU."""

from __future__ import annotations

import ctypes
import platform

#: glibc's names of its settings (``malloc.h``): free memory at the top of the heap that is given back to the system;
#: memory fetched beyond what is asked for; size above which memory does not come from the heap.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3
_MIB = 1 << 20


def keep_freed_memory() -> bool:
    """Tell glibc to keep freed memory; return whether it did, False where the C library is another one.

    By default glibc gives the memory of a large tensor back to the system, and the next one of the same size is fetched
    page by page: a frozen MobileNetV2 took twice as long for 64 images of 128 px.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    settings = {_MMAP_THRESHOLD: 1024 * _MIB, _TRIM_THRESHOLD: 2047 * _MIB, _TOP_PAD: 256 * _MIB}
    return all(mallopt(name, value) == 1 for name, value in settings.items())
