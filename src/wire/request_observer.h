// Told of requests to peers as they begin and end: what tells who serves and who does not. Those alone are told of
// that want an answer at once, so within k_prompt; what waits for others by its nature (a fence, work of healing)
// says nothing of the peer.
#pragma once

#include <utility>

#include "base/result.h"
#include "base/time.h"
#include "base/types.h"

namespace corelet {

// The deadline of a prompt request. (Its caller may wait longer; whoever reads or appends has turned elsewhere.)
inline constexpr Duration k_prompt = 500_ms;

// What has to work for the answer to come.
enum class RequestNeed : u8 {
    kLoop,    // the peer's process alone
    kDevice,  // and its device
};

enum class RequestEnd : u8 {
    kAnswered,    // whatever the answer says
    kUnanswered,  // the connection broke, or nothing came
    kDropped,     // its asker went away: says nothing
};

// How a call ended. A refusal is an answer.
template <class T>
[[nodiscard]] RequestEnd request_end(const Result<T>& answer) {
    bool const unheard = !answer && (answer.error().code == Code::kReset || answer.error().code == Code::kTimeout);
    return unheard ? RequestEnd::kUnanswered : RequestEnd::kAnswered;
}

class RequestObserver {
  public:
    virtual ~RequestObserver() = default;
    // Returns what names it at its end.
    [[nodiscard]] virtual u64 request_began(CoreletId peer, RequestNeed need, Instant now) = 0;
    virtual void request_ended(u64 request, RequestEnd end, Instant now) = 0;
};

// One request, from its sending until it ends or is destroyed. The observer outlives it; none is fine.
class WatchedRequest {
  public:
    WatchedRequest(RequestObserver* observer, CoreletId peer, RequestNeed need, Instant now)
        : observer_(observer), request_(observer ? observer->request_began(peer, need, now) : 0), began_(now) {}
    WatchedRequest(WatchedRequest&& other) noexcept
        : observer_(std::exchange(other.observer_, nullptr)), request_(other.request_), began_(other.began_) {}
    WatchedRequest& operator=(WatchedRequest&&) = delete;
    ~WatchedRequest() {
        if (observer_) observer_->request_ended(request_, RequestEnd::kDropped, began_);
    }
    void ended(RequestEnd end, Instant now) {
        if (RequestObserver* const observer = std::exchange(observer_, nullptr))
            observer->request_ended(request_, end, now);
    }

  private:
    RequestObserver* observer_;
    u64 request_;
    Instant began_;
};

}  // namespace corelet
