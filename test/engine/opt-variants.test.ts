/** Every variant of the OPT family against the logits that transformers computed for it. */

import { testVariants } from './variants.ts';

testVariants('opt-variants');
