#include "tests/mesh/clients.h"

#include <algorithm>

namespace corelet {

Clients::Turn::Turn(std::shared_ptr<Clients*> clients, usize client, u64 number)
    : clients_(std::move(clients)), client_(client), number_(number) {
    ++(*clients_)->unanswered_;
}

Clients::Turn::~Turn() {
    if (!is_heard()) return;
    --(*clients_)->unanswered_;
    (*clients_)->done_with(client_, number_);
}

Clients::Clients(sim::World& world, ClientPace pace, Prng& random, std::function<void(usize)> ask)
    : world_(world),
      pace_(pace),
      random_(random),
      ask_(std::move(ask)),
      clients_(pace.clients),
      self_(std::make_shared<Clients*>(this)) {}

Clients::~Clients() {
    *self_ = nullptr;
}

void Clients::start() {
    started_ = true;
    for (usize i = 0; i < clients_.size(); ++i) again_in(i, Duration{static_cast<i64>(random_.below(100'000'000))});
}

bool Clients::idle() const {
    return std::none_of(clients_.begin(), clients_.end(), [](const Client& client) { return client.waiting; });
}

void Clients::again_in(usize client, Duration delay) {
    world_.call_in(delay, [self = self_, client] {
        if (*self) (*self)->ask(client);
    });
}

void Clients::ask(usize client) {
    if (!stopping_ && !clients_[client].waiting) ask_(client);
}

std::unique_ptr<Clients::Turn> Clients::take_turn(usize client) {
    CORELET_ASSERT(!clients_[client].waiting, "a client has one request out at a time");
    clients_[client].waiting = true;
    u64 const number = ++clients_[client].number;
    world_.call_in(pace_.patience, [self = self_, client, number] {
        if (*self) (*self)->done_with(client, number);
    });
    return std::make_unique<Turn>(self_, client, number);
}

void Clients::done_with(usize client, u64 number) {
    Client& waiting = clients_[client];
    if (!waiting.waiting || waiting.number != number) return;
    waiting.waiting = false;
    again_in(client, Duration{static_cast<i64>(random_.below(static_cast<u64>(pace_.think_max.ns)))});
}

}  // namespace corelet
