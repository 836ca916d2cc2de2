// One connection in its transmission phase: reads requests, runs them beside each other on the block device, and
// writes replies in the order of their completion, all that are ready in one write.
//
// Memory: whatever a request will need is taken from the export's budget before its payload is read or its read is
// issued; while that waits, nothing more is read from this client. A long transfer is served in pieces of 1 MiB at
// most, so that it needs no more than a few of these at once, whatever its length.
#pragma once

#include "gateway/nbd/export.h"
#include "gateway/nbd/outbox.h"
#include "rt/env.h"

namespace corelet::nbd {

inline constexpr u32 k_requests_in_flight_max = 256;  // of one connection, until their replies are written
inline constexpr usize k_receive_bytes_idle = 8 * k_kib;
inline constexpr usize k_receive_bytes_busy = 128 * k_kib;
inline constexpr Duration k_linger = 10_s;          // for answers to a client that took its leave
inline constexpr Duration k_shutdown_linger = 1_s;  // for ESHUTDOWN to clients of a device that is served elsewhere
inline constexpr Duration k_payload_patience = 200_ms;  // of a drain, with a write whose payload is on its way

// A request that is being served; shared by its pieces. In its session's list until it is answered.
struct Operation : ListNode {
    Request request;
    Instant began;
    u64 overhead_bytes = 0;  // held for it until its reply is written
    u32 pieces_left = 1;     // not yet done; whoever issues them counts as one
    ErrorNumber error = ErrorNumber::kNone;
    std::string error_text;
    bool errors_sent = false;  // in messages before the final one
    bool finished = false;     // the final message is sent
    bool answered = false;     // and counted: whatever its pieces still bring is dropped
    bool whole = false;        // a read whose data leave together, from `parts`
    std::vector<BufferChain> parts;
};
using OperationPtr = std::shared_ptr<Operation>;

class Session : public ListNode {
  public:
    // `early` are bytes that arrived behind the handshake.
    Session(Env& env, std::shared_ptr<Export> exported, Terms terms, std::unique_ptr<Connection> connection,
            Buffer early);
    ~Session();

    // Until the client leaves, or stop(), shut_down() or abort(). Then all is answered that will be, and the
    // connection closed.
    [[nodiscard]] Task<void> run();
    // Reads no more requests, answers those that were read until the deadline.
    void stop(Instant deadline);
    // The device is served elsewhere from now on: all that is in flight is answered ESHUTDOWN now, without waiting
    // for the device, and the connection closed as soon as that is written (k_shutdown_linger at most).
    void shut_down(std::string_view reason);
    // Closes the connection now. `reason` is for people.
    void abort(std::string_view reason);
    // Since when it holds memory and waits for its client to read or send; nothing if it does not.
    [[nodiscard]] std::optional<Instant> stalled_since() const;
    [[nodiscard]] bool waits_for_memory() const { return waits_for_memory_; }
    [[nodiscard]] std::string_view end_reason() const { return end_reason_; }

  private:
    // Receiving (session_receive.cc).
    Task<void> read_requests();
    Task<bool> receive(usize wanted);  // until that many bytes are buffered; false: the session ends
    void fit_receive_buffer(usize wanted);
    [[nodiscard]] usize buffered() const { return receive_end_ - receive_begin_; }
    Task<bool> discard_payload();
    Task<Result<Buffer>> read_payload(u32 bytes);
    Task<bool> take_request(Request request);
    Task<bool> refuse(Request request, Admission admission);
    Task<void> start_read(Request request);
    Task<bool> start_write(Request request);
    Task<void> start_other(Request request);
    [[nodiscard]] bool try_hold(u64 bytes);
    Task<void> hold(u64 bytes);
    Task<void> hold_whole_lane();
    void give_back(u64 bytes);

    // Serving (session_serve.cc).
    Task<void> read_piece(OperationPtr operation, u64 offset, u32 length, usize index);
    Task<void> write_piece(OperationPtr operation, u64 offset, Buffer data);
    Task<void> run_command(OperationPtr operation, u64 held_bytes);
    Task<Result<void>> command(Request request);
    Task<Result<void>> cache(u64 offset, u32 length);
    Task<Result<std::vector<StatusDescriptor>>> block_status(Request request);
    Task<void> run_block_status(OperationPtr operation, u64 held_bytes);
    [[nodiscard]] OperationPtr make_operation(const Request& request, u64 overhead_bytes);
    void spawn(Task<void> job);
    void finish_job();  // the last thing a job does
    void fail_piece(Operation& operation, u64 offset, const Error& error);
    void send_data(Operation& operation, u64 offset, const BufferChain& data, u64 held_bytes);
    void send_whole(Operation& operation);
    void finish_piece(Operation& operation);
    void send_final(Operation& operation);
    void answer(Operation& operation);
    void answer_shut_down();
    void note_shut_down(Operation& operation);

    // Sending and ending (session.cc).
    Task<void> write_replies();
    Task<Result<void>> finish();
    Task<void> finish_request();
    void written(const ReplyBatch& batch);
    void end(std::string_view reason);

    Env& env_;
    std::shared_ptr<Export> export_;
    Terms terms_;
    std::unique_ptr<Connection> connection_;

    Buffer receive_buffer_;
    usize receive_begin_ = 0;
    usize receive_end_ = 0;
    usize receive_held_bytes_ = 0;
    u32 small_receives_ = 0;
    bool expect_large_payload_ = false;
    std::optional<Request> taking_;  // read, not yet under way whole
    OperationPtr issuing_;           // its operation, while pieces are added to it
    u64 payload_left_ = 0;           // of its payload, not yet read

    u64 held_bytes_ = 0;  // of the common lane, receive buffer aside
    bool holds_whole_lane_ = false;
    u32 requests_in_flight_ = 0;
    u32 jobs_ = 0;
    bool caching_ = false;
    bool waits_for_memory_ = false;

    IntrusiveList<Operation> operations_;  // not answered yet
    Outbox outbox_;
    Notify outbox_filled_;
    Notify progress_;  // a job ended, all was written, or the connection broke

    Instant received_at_;
    std::optional<Instant> writing_since_;
    std::optional<Instant> payload_since_;
    Event stop_;
    bool shutting_down_ = false;
    bool broken_ = false;
    Instant deadline_{INT64_MAX};
    std::string end_reason_;

    Scope jobs_scope_;
    Scope reader_scope_;
    Scope writer_scope_;
};

}  // namespace corelet::nbd
