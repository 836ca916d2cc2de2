// The command line: what is typed becomes one action, its error one message and an exit code.
#pragma once

namespace corelet::app {

// 0: done; 1: it failed, and the message on stderr says what, why, and the next command; 2: it was not understood.
[[nodiscard]] int run_cli(int argc, char** argv);

}  // namespace corelet::app
