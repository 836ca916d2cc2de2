// A doubly linked list whose links live in its members: constant-time removal from the middle, no allocation. A
// node is in at most one list and leaves it when destroyed.
#pragma once

#include "base/assert.h"
#include "base/types.h"

namespace corelet {

class ListNode {
  public:
    ListNode() = default;
    ListNode(const ListNode&) = delete;
    ListNode& operator=(const ListNode&) = delete;
    ~ListNode() { unlink(); }
    [[nodiscard]] bool is_linked() const { return next_ != nullptr; }
    void unlink() {
        if (!next_) return;
        prev_->next_ = next_;
        next_->prev_ = prev_;
        next_ = prev_ = nullptr;
    }

  private:
    template <class T>
    friend class IntrusiveList;
    ListNode* next_ = nullptr;
    ListNode* prev_ = nullptr;
};

// T derives from ListNode. Destroying the list unlinks all nodes and destroys none.
template <class T>
class IntrusiveList {
  public:
    IntrusiveList() { head_.next_ = head_.prev_ = &head_; }
    ~IntrusiveList() {
        while (head_.next_ != &head_) head_.next_->unlink();
        head_.next_ = head_.prev_ = nullptr;
    }
    [[nodiscard]] bool empty() const { return head_.next_ == &head_; }
    void push_back(T& node) {
        ListNode& n = node;
        CORELET_ASSERT(!n.is_linked(), "node is in a list already");
        n.prev_ = head_.prev_;
        n.next_ = &head_;
        head_.prev_->next_ = &n;
        head_.prev_ = &n;
    }
    [[nodiscard]] T& front() {
        CORELET_ASSERT(!empty());
        return static_cast<T&>(*head_.next_);
    }
    T& pop_front() {
        T& node = front();
        static_cast<ListNode&>(node).unlink();
        return node;
    }
    template <class F>
    void for_each(F&& f) {
        for (ListNode* n = head_.next_; n != &head_;) {
            ListNode* const next = n->next_;
            f(static_cast<T&>(*n));
            n = next;
        }
    }
    // How many there are, counted up to `limit`.
    [[nodiscard]] usize count(usize limit) const {
        usize out = 0;
        for (const ListNode* n = head_.next_; n != &head_ && out < limit; n = n->next_) ++out;
        return out;
    }
    // The n-th node from the front; there must be one.
    [[nodiscard]] T& at(usize index) {
        ListNode* n = head_.next_;
        for (; index > 0; --index) n = n->next_;
        CORELET_ASSERT(n != &head_);
        return static_cast<T&>(*n);
    }
    // Moves all nodes of `other` to the back of this list.
    void splice_back(IntrusiveList& other) {
        while (!other.empty()) push_back(other.pop_front());
    }

  private:
    ListNode head_;
};

}  // namespace corelet
