/** Dates as Python's `strftime` writes them, in English and in the process's time zone. */

const days = ['Sunday', 'Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday'];
const months = [
  'January',
  'February',
  'March',
  'April',
  'May',
  'June',
  'July',
  'August',
  'September',
  'October',
  'November',
  'December',
];

function padded(value: number, digits = 2, fill = '0'): string {
  return String(value).padStart(digits, fill);
}

/** The day of the year, from 1 to 366. */
function dayOfYear(date: Date): number {
  const midnight = Date.UTC(date.getFullYear(), date.getMonth(), date.getDate());
  return Math.round((midnight - Date.UTC(date.getFullYear(), 0, 0)) / 86_400_000);
}

const directives: ReadonlyMap<string, (date: Date) => string> = new Map<
  string,
  (date: Date) => string
>([
  ['Y', (date) => String(date.getFullYear())],
  ['y', (date) => padded(date.getFullYear() % 100)],
  ['m', (date) => padded(date.getMonth() + 1)],
  ['d', (date) => padded(date.getDate())],
  ['e', (date) => padded(date.getDate(), 2, ' ')],
  ['j', (date) => padded(dayOfYear(date), 3)],
  ['B', (date) => months[date.getMonth()] ?? ''],
  ['b', (date) => (months[date.getMonth()] ?? '').slice(0, 3)],
  ['A', (date) => days[date.getDay()] ?? ''],
  ['a', (date) => (days[date.getDay()] ?? '').slice(0, 3)],
  ['w', (date) => String(date.getDay())],
  ['u', (date) => String(date.getDay() || 7)],
  ['H', (date) => padded(date.getHours())],
  ['I', (date) => padded(date.getHours() % 12 || 12)],
  ['M', (date) => padded(date.getMinutes())],
  ['S', (date) => padded(date.getSeconds())],
  ['f', (date) => `${padded(date.getMilliseconds(), 3)}000`],
  ['p', (date) => (date.getHours() < 12 ? 'AM' : 'PM')],
  ['F', (date) => strftime(date, '%Y-%m-%d')],
  ['D', (date) => strftime(date, '%m/%d/%y')],
  ['T', (date) => strftime(date, '%H:%M:%S')],
  ['R', (date) => strftime(date, '%H:%M')],
  ['c', (date) => strftime(date, '%a %b %e %H:%M:%S %Y')],
  ['x', (date) => strftime(date, '%m/%d/%y')],
  ['X', (date) => strftime(date, '%H:%M:%S')],
  ['n', () => '\n'],
  ['t', () => '\t'],
  ['%', () => '%'],
]);

/** `date` in the form of `format`; an unknown directive stays as it is. `%-d` is `%d` without leading zeros. */
export function strftime(date: Date, format: string): string {
  return format.replace(/%(-?)(.)/gs, (whole, bare: string, name: string) => {
    const text = directives.get(name)?.(date);
    if (text === undefined) return whole;
    return bare === '' ? text : text.replace(/^[0 ]+(?=.)/, '');
  });
}
