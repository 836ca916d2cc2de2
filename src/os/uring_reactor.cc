#include "os/uring_reactor.h"

#include <fcntl.h>
#include <poll.h>

#include <cerrno>
#include <ctime>

#include "os/clock.h"
#include "os/errors.h"

namespace corelet::os {

namespace {

constexpr unsigned k_submission_entries = 256;
constexpr unsigned k_completion_entries = 4096;

// What a completion belongs to, in the low bits of its tag; the rest is the object's address.
enum class Tag : u64 { kDisk = 0, kPollRead = 1, kPollWrite = 2, kNobody = 3 };
constexpr u64 k_tag_mask = 7;

u64 make_tag(const void* object, Tag tag) {
    auto const address = reinterpret_cast<u64>(object);
    CORELET_ASSERT((address & k_tag_mask) == 0);
    return address | static_cast<u64>(tag);
}
Tag poll_tag(Direction direction) {
    return direction == Direction::kRead ? Tag::kPollRead : Tag::kPollWrite;
}

// From the best the kernel may offer down to a plain ring: completions are run when the loop asks for them, not by
// interrupting it, and the flag tells without a system call that there are some.
constexpr std::array k_flag_sets = {
    IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_COOP_TASKRUN |
        IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_SUBMIT_ALL,
    IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_SUBMIT_ALL,
    IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
    0U,
};
// Waiting with a timeout without an extra request, and completions that are never lost: Linux 5.11.
constexpr unsigned k_features_needed = IORING_FEAT_EXT_ARG | IORING_FEAT_NODROP;

}  // namespace

Result<std::unique_ptr<Reactor>> make_uring_reactor() {
    return UringReactor::create();
}

Result<std::unique_ptr<Reactor>> UringReactor::create() {
    std::unique_ptr<UringReactor> reactor(new UringReactor());
    reactor->ring_.ring_fd = -1;
    int error = -ENOSYS;
    for (unsigned const flags : k_flag_sets) {
        io_uring_params params{};
        params.flags = flags | IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP;
        params.cq_entries = k_completion_entries;
        error = ::io_uring_queue_init_params(k_submission_entries, &reactor->ring_, &params);
        if (error == 0 && (params.features & k_features_needed) == k_features_needed) {
            ::io_uring_ring_dontfork(&reactor->ring_);
            // Saves looking the ring's descriptor up at every call; old kernels do without.
            (void)::io_uring_register_ring_fd(&reactor->ring_);
            return reactor;
        }
        if (error == 0) {
            ::io_uring_queue_exit(&reactor->ring_);
            error = -ENOSYS;
        }
        reactor->ring_ = {};
        reactor->ring_.ring_fd = -1;
        if (error != -EINVAL) break;
    }
    return fail_errno(-error, "setting up io_uring");
}

UringReactor::~UringReactor() {
    if (ring_.ring_fd < 0) return;
    while (disk_in_flight_ > 0) {
        wait(k_forever);
        reap();
    }
    ::io_uring_queue_exit(&ring_);
    watches_.for_each([](Watch& watch) {
        std::shared_ptr<Watch> const keep = watch.shared_from_this();
        watch.unlink();
        for (auto& armed : watch.armed_) armed.reset();
    });
}

io_uring_sqe& UringReactor::next_sqe() {
    io_uring_sqe* sqe = ::io_uring_get_sqe(&ring_);
    while (!sqe) {
        // More requests in one turn than the queue holds. Where the kernel takes none, it wants its completions
        // seen first.
        if (::io_uring_submit(&ring_) < 0) {
            enter_without_waiting();
            reap();
        }
        sqe = ::io_uring_get_sqe(&ring_);
    }
    return *sqe;
}

void UringReactor::start(std::shared_ptr<DiskOperation> operation) {
    DiskOperation& op = *operation;
    CORELET_ASSERT(op.fd >= 0 && !op.finished_);
    io_uring_sqe& sqe = next_sqe();
    switch (op.kind) {
        case DiskOperation::Kind::kRead:
            ::io_uring_prep_readv(&sqe, op.fd, op.vectors.data(), static_cast<unsigned>(op.vectors.size()),
                                  op.offset);
            break;
        case DiskOperation::Kind::kWrite:
            ::io_uring_prep_writev2(&sqe, op.fd, op.vectors.data(), static_cast<unsigned>(op.vectors.size()),
                                    op.offset, op.durable ? RWF_DSYNC : 0);
            break;
        case DiskOperation::Kind::kSync:
            ::io_uring_prep_fsync(&sqe, op.fd, IORING_FSYNC_DATASYNC);
            break;
        case DiskOperation::Kind::kPunchHole:
            ::io_uring_prep_fallocate(&sqe, op.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                                      static_cast<off_t>(op.offset), static_cast<off_t>(op.size));
            break;
    }
    ::io_uring_sqe_set_data64(&sqe, make_tag(&op, Tag::kDisk));
    op.in_flight_ = std::move(operation);
    ++disk_in_flight_;
}

Result<std::shared_ptr<Watch>> UringReactor::watch(Descriptor descriptor) {
    auto watch = std::make_shared<Watch>(*this, std::move(descriptor));
    watches_.push_back(*watch);
    return watch;
}

void UringReactor::arm(Watch& watch, Direction direction) {
    auto& armed = watch.armed_[static_cast<usize>(direction)];
    if (armed) return;  // left from a waiter that was dropped
    io_uring_sqe& sqe = next_sqe();
    ::io_uring_prep_poll_add(&sqe, watch.fd(), direction == Direction::kRead ? POLLIN : POLLOUT);
    ::io_uring_sqe_set_data64(&sqe, make_tag(&watch, poll_tag(direction)));
    armed = watch.shared_from_this();
}

void UringReactor::forget(Watch& watch) {
    bool was_armed = false;
    for (Direction const direction : {Direction::kRead, Direction::kWrite}) {
        if (!watch.armed_[static_cast<usize>(direction)]) continue;
        io_uring_sqe& sqe = next_sqe();
        ::io_uring_prep_poll_remove(&sqe, make_tag(&watch, poll_tag(direction)));
        ::io_uring_sqe_set_data64(&sqe, static_cast<u64>(Tag::kNobody));
        was_armed = true;
    }
    if (!was_armed) return;
    // At once, not with the next turn: only then does the kernel let the socket go, and its peer and its port with
    // it.
    enter_without_waiting();
    reap();
}

bool UringReactor::has_news() const {
    unsigned const flags = __atomic_load_n(ring_.sq.kflags, __ATOMIC_RELAXED);
    return ::io_uring_cq_ready(&ring_) > 0 || (flags & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW)) != 0;
}

void UringReactor::enter_without_waiting() {
    int const result = ::io_uring_submit_and_get_events(&ring_);
    CORELET_ASSERT(result >= 0 || result == -EINTR || result == -EAGAIN || result == -EBUSY,
                   "io_uring_enter failed");
}

void UringReactor::wait(Duration timeout) {
    __kernel_timespec limit{timeout.ns / 1'000'000'000, timeout.ns % 1'000'000'000};
    io_uring_cqe* first = nullptr;
    int const result =
        ::io_uring_submit_and_wait_timeout(&ring_, &first, 1, timeout < k_forever ? &limit : nullptr, nullptr);
    CORELET_ASSERT(result >= 0 || result == -EINTR || result == -ETIME || result == -EAGAIN || result == -EBUSY,
                   "io_uring_enter failed");
}

bool UringReactor::spin_until(Duration spin) {
    i64 const until = awake_ns() + spin.ns;
    do {
        for (int i = 0; i < 32; ++i) {
            if (has_news()) return true;
            __builtin_ia32_pause();
        }
    } while (awake_ns() < until);
    return false;
}

TurnEnd UringReactor::turn(Duration timeout, Duration spin) {
    bool const may_wait = timeout.ns > 0;
    TurnEnd end = TurnEnd::kAtOnce;
    if (!may_wait || spin.ns > 0) {
        if (::io_uring_sq_ready(&ring_) > 0 || has_news()) enter_without_waiting();
        if (may_wait && ::io_uring_cq_ready(&ring_) == 0 && spin_until(std::min(spin, timeout))) {
            enter_without_waiting();
            end = TurnEnd::kAwake;
        }
    }
    if (may_wait && ::io_uring_cq_ready(&ring_) == 0) {
        wait(timeout);
        end = TurnEnd::kAsleep;
    }
    reap();
    return end;
}

void UringReactor::reap() {
    unsigned head = 0;
    unsigned seen = 0;
    io_uring_cqe* cqe = nullptr;
    io_uring_for_each_cqe(&ring_, head, cqe) {
        completed(cqe->user_data, cqe->res);
        ++seen;
    }
    ::io_uring_cq_advance(&ring_, seen);
}

void UringReactor::completed(u64 tag, i32 result) {
    auto const kind = static_cast<Tag>(tag & k_tag_mask);
    auto* const object = reinterpret_cast<void*>(tag & ~k_tag_mask);  // NOLINT(performance-no-int-to-ptr)
    if (kind == Tag::kDisk) {
        auto* const operation = static_cast<DiskOperation*>(object);
        std::shared_ptr<DiskOperation> const keep = std::move(operation->in_flight_);
        CORELET_ASSERT(keep && disk_in_flight_ > 0);
        --disk_in_flight_;
        operation->finish(result);
    } else if (kind == Tag::kPollRead || kind == Tag::kPollWrite) {
        auto* const watch = static_cast<Watch*>(object);
        auto const direction = kind == Tag::kPollRead ? Direction::kRead : Direction::kWrite;
        std::shared_ptr<Watch> const keep = std::move(watch->armed_[static_cast<usize>(direction)]);
        CORELET_ASSERT(keep);
        watch->wake(direction);
    }
}

}  // namespace corelet::os
