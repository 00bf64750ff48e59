/** Every family and its variants against the logits that transformers computed for them. */

import { testVariants } from './variants.ts';

testVariants('families');
