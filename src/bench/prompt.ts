/** The prompt if none is given. */

export const defaultPrompt =
  'Once upon a time there was a little lighthouse at the end of a long stone pier. Every evening ' +
  'the keeper climbed up its stairs, lit the lamp, and looked out over the water. One night the wind ' +
  'was so loud that nobody in the village could sleep. A small boat was still out there, and in it ' +
  'sat a girl named Anna with her grandfather and a basket of fish. "Do not be afraid," said the ' +
  'old man. "As long as we see the light, we know the way home." But then the light went out. The ' +
  'keeper ran down to fetch a new wick, and on the stairs he met a gray cat that had never been ' +
  'there before. The cat looked at him with big green eyes and sat down on the last step. It would ' +
  'not let him pass. "Please," said the keeper, "there is a boat out on the sea tonight." ';

/** The ids of a prompt: the text's first `count` ids; a shorter text is repeated. */
export function promptOf(
  encode: (text: string) => readonly number[],
  text: string,
  count: number,
): readonly number[] {
  let ids = encode(text);
  for (let whole = text; ids.length < count; ids = encode(whole)) whole += text;
  return ids.slice(0, count);
}
