/** The signals that stop a command on Windows, where no process receives SIGTERM. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { catchInterrupts, interruptedExitCode, interruption } from '../../src/cli/interrupt.ts';

test('the closing of the console stops a command as Ctrl-C does; SIGTERM is not listened for', () => {
  const before = process.listenerCount('SIGTERM');
  catchInterrupts('win32');
  assert.equal(process.listenerCount('SIGTERM'), before);
  for (const signal of ['SIGINT', 'SIGBREAK', 'SIGHUP'] as const) {
    assert.equal(process.listenerCount(signal), 1, signal);
  }
  process.emit('SIGHUP', 'SIGHUP');
  assert.equal(interruption.aborted, true);
  assert.equal(interruptedExitCode(), 129);
});
