// SIGINT and SIGTERM ask the training loop to stop after its step; a second one ends the program at
// once.
#pragma once

namespace peri {

void catch_interrupts();

// The signal that has come, 0 for none.
int interrupt();

}  // namespace peri
