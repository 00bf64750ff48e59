/** The trained mixture of experts against the logits that transformers computed for it. */

import { testCheckpoint } from './variants.ts';

testCheckpoint('stories-moe');
