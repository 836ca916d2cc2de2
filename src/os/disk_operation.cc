#include "os/disk_operation.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

namespace corelet::os {

i64 perform_blocking(const DiskOperation& operation) {
    auto const offset = static_cast<off_t>(operation.offset);
    auto const count = static_cast<int>(operation.vectors.size());
    i64 done = 0;
    do {
        switch (operation.kind) {
            case DiskOperation::Kind::kRead:
                done = ::preadv2(operation.fd, operation.vectors.data(), count, offset, 0);
                break;
            case DiskOperation::Kind::kWrite:
                done = ::pwritev2(operation.fd, operation.vectors.data(), count, offset,
                                  operation.durable ? RWF_DSYNC : 0);
                break;
            case DiskOperation::Kind::kSync:
                done = ::fdatasync(operation.fd);
                break;
            case DiskOperation::Kind::kPunchHole:
                done = ::fallocate(operation.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset,
                                   static_cast<off_t>(operation.size));
                break;
        }
    } while (done < 0 && errno == EINTR);
    return done < 0 ? -errno : done;
}

}  // namespace corelet::os
