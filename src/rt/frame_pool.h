// Memory of coroutine frames: free lists by size class, one set a thread, so that an await costs no malloc. A frame
// is freed on the thread that made it.
#pragma once

#include "base/types.h"

namespace corelet {

[[nodiscard]] void* allocate_frame(usize size);
void free_frame(void* memory, usize size) noexcept;
// Bytes of frames now in use on this thread.
[[nodiscard]] usize frame_bytes_in_use();

}  // namespace corelet
