/**
 * nanochat: squared ReLU, norms without weights, also after the embedding and, after rotation, on queries
 * and keys; rotation in the opposite direction; capped logits.
 */

import { InputError } from '../errors.ts';
import { boolean, optionalPositive } from './config.ts';
import { decoderFamily } from './decoder-family.ts';

export const nanochat = decoderFamily(['nanochat'], (at) => {
  if (boolean(at, 'attention_bias', false)) {
    throw new InputError("'attention_bias' is true, which is not supported in this family", {
      file: at.file,
    });
  }
  const logitSoftCap = optionalPositive(at, 'final_logit_softcapping', 15);
  return {
    norm: { kind: 'rms', eps: ['rms_norm_eps', 1e-6], plain: true, embedding: true },
    activation: 'relu2',
    gate: 'none',
    turnsBack: true,
    qkNorm: 'rms',
    attention: { qkNormPlain: true, qkNormLast: true },
    scales: logitSoftCap === null ? {} : { logitSoftCap },
    names: { up: 'fc1', down: 'fc2' },
    bosId: 0,
    eosIds: [1],
  };
});
