/** An option of `parseArgs` that has this text where it is not given. */
export const text = (value: string) => ({ type: 'string', default: value }) as const;
