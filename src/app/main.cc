// The one program: daemon and command line.
#include "app/tool/cli.h"

int main(int argc, char** argv) {
    return corelet::app::run_cli(argc, argv);
}
