/** A chat template for models that have none. */

/** Turns of ChatML, with tools as Hermes has them. */
export const chatml =
  `{%- if tools %}<|im_start|>system\nTools:{% for tool in tools %} {{ tool.function.name }}{% endfor %}, by <tool_call><|im_end|>\n{% endif %}` +
  `{%- for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}` +
  `{%- for call in message.tool_calls or [] %}<tool_call>\n{{ call.function | tojson }}\n</tool_call>{% endfor %}` +
  `<|im_end|>\n{% endfor %}` +
  `{%- if add_generation_prompt %}<|im_start|>assistant\n{% if think %}<think>\n{% endif %}{% endif %}`;
