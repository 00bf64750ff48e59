import { BudgetError } from '../errors.ts';

/** What `plan` returns; null where it throws a BudgetError: the budget is too small. */
export function nullBelowFloor<T>(plan: () => T): T | null {
  try {
    return plan();
  } catch (error) {
    if (error instanceof BudgetError) return null;
    throw error;
  }
}
