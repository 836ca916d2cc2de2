// Clients of a simulated mesh that ask one thing after the other: each waits for its answer, or gives it up when
// its patience ends, thinks, and asks again. What they ask, and what becomes of the answers, is a workload's.
#pragma once

#include <functional>
#include <memory>

#include "sim/world.h"

namespace corelet {

struct ClientPace {
    usize clients = 1;
    Duration think_max;  // drawn below it
    Duration patience;
};

class Clients {
  public:
    // Belongs to the task that carries a request out. Its end, by an answer or because the task was dropped with
    // its node, is the end of the client's wait.
    class Turn {
      public:
        Turn(std::shared_ptr<Clients*> clients, usize client, u64 number);
        ~Turn();
        Turn(const Turn&) = delete;
        Turn& operator=(const Turn&) = delete;
        // The workload is still there to be told.
        [[nodiscard]] bool is_heard() const { return *clients_ != nullptr; }

      private:
        std::shared_ptr<Clients*> clients_;
        usize client_;
        u64 number_;
    };

    // `ask` is called with a client that waits for nothing: it takes a turn, or tries again later. It and `random`,
    // from which think times are drawn, outlive this.
    Clients(sim::World& world, ClientPace pace, Prng& random, std::function<void(usize)> ask);
    ~Clients();
    Clients(const Clients&) = delete;
    Clients& operator=(const Clients&) = delete;

    void start();
    // Nobody asks anything new.
    void stop() { stopping_ = true; }
    [[nodiscard]] bool is_asking() const { return started_ && !stopping_; }
    [[nodiscard]] bool idle() const;
    [[nodiscard]] std::unique_ptr<Turn> take_turn(usize client);
    void again_in(usize client, Duration delay);
    // Turns that have not ended, whether their clients wait for them or have given up.
    [[nodiscard]] usize unanswered() const { return unanswered_; }

  private:
    struct Client {
        u64 number = 0;  // of the turn it waits for; those before are given up
        bool waiting = false;
    };
    void ask(usize client);
    void done_with(usize client, u64 number);

    sim::World& world_;
    ClientPace pace_;
    Prng& random_;
    std::function<void(usize)> ask_;
    std::vector<Client> clients_;
    usize unanswered_ = 0;
    bool started_ = false;
    bool stopping_ = false;
    std::shared_ptr<Clients*> self_;  // null after the end: dropped tasks find nobody
};

}  // namespace corelet
