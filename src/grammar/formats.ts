/**
 * Regular expressions for known string formats: the engine's own accept dates and addresses that do not
 * exist. Some of these are narrower than their format.
 */

const day =
  '(((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01]))|((0[469]|11)-(0[1-9]|[12][0-9]|30))|' +
  '(02-(0[1-9]|1[0-9]|2[0-8])))';
const date = `[0-9]{4}-${day}`;
const time =
  '([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,6})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])';
const byte = '(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])';
const label = '[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?';
const host = `${label}(\\.${label}){1,3}`;

/** Expressions by format name. */
export const formatPatterns: Readonly<Record<string, string>> = {
  date: `^${date}$`,
  time: `^${time}$`,
  'date-time': `^${date}T${time}$`,
  duration: '^P([0-9]{1,3}D|T[0-9]{1,3}[HMS])$',
  email: `^[a-z0-9]{1,20}(\\.[a-z0-9]{1,20}){0,3}@${host}$`,
  hostname: `^${host}$`,
  ipv4: `^${byte}(\\.${byte}){3}$`,
  ipv6: '^([0-9a-f]{1,4}:){7}[0-9a-f]{1,4}$',
  uuid: '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$',
  uri: `^https?://${host}(/[A-Za-z0-9._~-]{1,60}){0,8}$`,
};
