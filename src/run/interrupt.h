// SIGINT and SIGTERM ask the training loop to stop after its step; a second one ends the program at
// once.
#pragma once

namespace peri {

void catch_interrupts();

// A file that grows beyond what is allowed (ulimit -f) is an error of the write, not the end of the program.
void survive_file_limits();

// The signal that has come, 0 for none.
int interrupt();

}  // namespace peri
