// One read, write, flush or discard in the kernel's hands. It goes on when the task that waits for it is dropped,
// and is settled when the process ends.
#pragma once

#include "sim/disk.h"

namespace corelet::sim {

class DiskOperation final : public Event, public ListNode {
  public:
    enum class Kind : u8 { kRead, kWrite, kDurableWrite, kFlush, kDiscard };
    struct Request {
        Kind kind = Kind::kRead;
        u64 offset = 0;
        u64 size = 0;
        BufferChain data;
    };

    // Whoever waits for the result. Dropped, it leaves the operation to itself.
    class Awaiter {
      public:
        Awaiter(Media& media, std::shared_ptr<MediaEntry> entry, Request request)
            : media_(media), entry_(std::move(entry)), request_(std::move(request)) {}
        ~Awaiter() {
            if (operation_) operation_->awaiter_ = nullptr;
        }
        Awaiter(const Awaiter&) = delete;
        Awaiter& operator=(const Awaiter&) = delete;
        [[nodiscard]] bool await_ready() const noexcept { return false; }
        template <class Promise>
        void await_suspend(std::coroutine_handle<Promise> handle) {
            waiter_.suspend(handle, handle.promise());
            start(media_, std::move(entry_), std::move(request_), this);
        }
        [[nodiscard]] Result<Buffer> await_resume() { return std::move(result_); }

      private:
        friend class DiskOperation;
        Media& media_;
        std::shared_ptr<MediaEntry> entry_;
        Request request_;
        DiskOperation* operation_ = nullptr;
        Waiter waiter_;
        Result<Buffer> result_;
    };

    // The queue owns it from its start to its end.
    static void start(Media& media, std::shared_ptr<MediaEntry> entry, Request request, Awaiter* awaiter);
    ~DiskOperation() override { unlink(); }

  private:
    DiskOperation(Media& media, std::shared_ptr<MediaEntry> entry, const Request& request, Awaiter* awaiter);
    void begin();
    [[nodiscard]] VirtualTime completion_time();
    void fire() override;
    [[nodiscard]] Result<Buffer> complete();
    void fail_with(FaultKind kind);
    void misdirect(u32& armed, FaultKind kind);

    Media& media_;
    std::shared_ptr<MediaEntry> entry_;
    Kind kind_;
    u64 offset_;
    u64 size_;
    u64 write_ = 0;       // its name on the media
    u64 flush_mark_ = 0;  // what was complete when the flush began
    bool fails_ = false;
    Awaiter* awaiter_;
};

}  // namespace corelet::sim
