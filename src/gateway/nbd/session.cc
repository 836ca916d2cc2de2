#include "gateway/nbd/session.h"

#include "rt/combine.h"

namespace corelet::nbd {

Session::Session(Env& env, std::shared_ptr<Export> exported, Terms terms, std::unique_ptr<Connection> connection,
                 Buffer early)
    : env_(env),
      export_(std::move(exported)),
      terms_(std::move(terms)),
      connection_(std::move(connection)),
      receive_buffer_(Buffer::allocate(std::max<usize>(k_receive_bytes_idle, early.size()))),
      receive_end_(early.size()),
      jobs_scope_(env.executor),
      reader_scope_(env.executor),
      writer_scope_(env.executor) {
    if (!early.empty()) std::memcpy(receive_buffer_.mutable_data(), early.data(), early.size());
    received_at_ = env_.clock.now();
    export_->sessions.push_back(*this);
    ++export_->stats.connections;
    ++export_->stats.connections_total;
}

Session::~Session() {
    reader_scope_.cancel();
    jobs_scope_.cancel();
    writer_scope_.cancel();
    MemoryBudget& budget = export_->budget;
    budget.give_back(held_bytes_ + receive_held_bytes_);
    export_->receive_bytes -= receive_held_bytes_;
    if (holds_whole_lane_) budget.whole().release(1);
    --export_->stats.connections;
    unlink();
    export_->session_left.notify_all();
}

Task<void> Session::run() {
    writer_scope_.spawn(write_replies());
    reader_scope_.spawn(read_requests());
    co_await stop_.wait();
    if (!taking_) reader_scope_.cancel();
    // What is not answered by then stays unanswered; the client sees the connection end.
    if (!broken_) co_await with_deadline(env_.clock, deadline_, finish());
    connection_->close();
}

void Session::end(std::string_view reason) {
    if (stop_.is_set()) return;
    end_reason_ = reason;
    deadline_ = std::min(deadline_, env_.clock.now() + k_linger);
    stop_.set();
}

void Session::stop(Instant deadline) {
    if (stop_.is_set()) return;
    end_reason_ = "the export moves away";
    deadline_ = deadline;
    stop_.set();
}

void Session::shut_down(std::string_view reason) {
    if (std::exchange(shutting_down_, true)) return;
    if (!stop_.is_set()) end_reason_ = reason;
    deadline_ = std::min(deadline_, env_.clock.now() + k_shutdown_linger);
    stop_.set();
    progress_.notify_all();
}

void Session::abort(std::string_view reason) {
    if (broken_) return;
    if (!stop_.is_set()) end_reason_ = reason;
    broken_ = true;
    connection_->close();
    stop_.set();
    progress_.notify_all();
}

std::optional<Instant> Session::stalled_since() const {
    if (writing_since_ && payload_since_) return std::min(*writing_since_, *payload_since_);
    return writing_since_ ? writing_since_ : payload_since_;
}

Task<Result<void>> Session::finish() {
    co_await finish_request();
    while (!broken_) {
        if (shutting_down_) answer_shut_down();
        bool const all_done = shutting_down_ || jobs_ == 0;
        if (all_done && !writing_since_ && outbox_.empty()) break;
        co_await progress_.wait();
    }
    co_return Result<void>();
}

// A client that is within a request when the session is told to end could not make out an answer there. So it may
// complete it: for a shutdown its payload is read away, else it is served, if it comes soon.
Task<void> Session::finish_request() {
    Instant const patience = env_.clock.now() + k_payload_patience;
    while (!broken_ && taking_) {
        if (shutting_down_ && waits_for_memory_) {
            reader_scope_.cancel();  // of a device that is gone none may come
            waits_for_memory_ = false;
            if (!issuing_) issuing_ = make_operation(*taking_, 0);
            bool const received = co_await discard_payload();
            note_shut_down(*issuing_);
            if (received) answer(*issuing_);
            taking_.reset();
            co_return;
        }
        if (shutting_down_) {
            answer_shut_down();
            co_await progress_.wait();
        } else if (!co_await progress_.wait_until(env_.clock, patience)) {
            break;
        }
    }
    reader_scope_.cancel();
}

Task<void> Session::write_replies() {
    while (true) {
        if (outbox_.empty()) {
            progress_.notify_all();
            co_await outbox_filled_.wait();
            continue;
        }
        ReplyBatch batch = outbox_.take();
        writing_since_ = env_.clock.now();
        Result<void> const sent = co_await connection_->write(std::move(batch.chain));
        writing_since_.reset();
        written(batch);
        if (!sent) {
            abort("the connection broke: " + sent.error().to_string());
            co_return;
        }
    }
}

void Session::written(const ReplyBatch& batch) {
    CORELET_ASSERT(batch.replies <= requests_in_flight_);
    requests_in_flight_ -= batch.replies;
    if (batch.whole_lane) {
        CORELET_ASSERT(holds_whole_lane_);
        holds_whole_lane_ = false;
        export_->budget.whole().release(1);
    }
    give_back(batch.held_bytes);
}

void Session::give_back(u64 bytes) {
    CORELET_ASSERT(bytes <= held_bytes_, "more given back than was held");
    held_bytes_ -= bytes;
    export_->budget.give_back(bytes);
}

}  // namespace corelet::nbd
