"""Chat templates in the manner of those that models come with, small ones for each construct, and conversations to put in them."""

# ruff: noqa: E501, E741

from __future__ import annotations

import json
from datetime import datetime

import jinja2
from jinja2.ext import Extension, loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment


class Generation(Extension):
    """Transformers' tag around what the model says: it writes its contents."""

    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_plain"), [], [], body).set_lineno(line)

    @staticmethod
    def _plain(caller):
        return caller()


def environment():
    """As Transformers makes it."""

    def raise_exception(message):
        raise jinja2.exceptions.TemplateError(message)

    def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    env = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols])
    env.filters["tojson"] = tojson
    env.globals["raise_exception"] = raise_exception
    env.globals["strftime_now"] = lambda form: datetime.now().strftime(form)  # days only are asked for
    return env


CHATML = """{% for message in messages %}
{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\\nYou are helpful<|im_end|>\\n' }}{% endif %}
{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}
{%- endfor %}
{% if add_generation_prompt %}
    {{ '<|im_start|>assistant\\n' }}
{% endif %}"""

LLAMA2 = """{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}{% set system_message = messages[0]['content'] %}\
{% else %}{% set loop_messages = messages %}{% set system_message = false %}{% endif %}{% for message in loop_messages %}\
{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Roles must alternate user/assistant/user/...') }}{% endif %}\
{% if loop.index0 == 0 and system_message != false %}{% set content = '<<SYS>>\\n' + system_message + '\\n<</SYS>>\\n\\n' + message['content'] %}\
{% else %}{% set content = message['content'] %}{% endif %}{% if message['role'] == 'user' %}{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}\
{% elif message['role'] == 'assistant' %}{{ ' ' + content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}"""

LLAMA3 = """{{- bos_token }}
{%- if not date_string is defined %}
    {%- if strftime_now is defined %}
        {%- set date_string = strftime_now("%d %b %Y") %}
    {%- else %}
        {%- set date_string = "26 Jul 2024" %}
    {%- endif %}
{%- endif %}
{%- if not tools is defined %}
    {%- set tools = none %}
{%- endif %}
{#- The system message goes first. #}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content'] if messages[0]['content'] is string else messages[0]['content'][0]['text'] %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\\n\\n" }}
{%- if tools is not none %}
    {{- "Environment: ipython\\n" }}
{%- endif %}
{{- "Today Date: " + date_string + "\\n\\n" }}
{{- system_message|trim }}
{{- "<|eot_id|>" }}
{%- for message in messages %}
    {%- if not (message.role == 'ipython' or message.role == 'tool' or 'tool_calls' in message) %}
        {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' }}
        {%- if message['content'] is string %}
            {{- message['content'] | trim }}
        {%- else %}
            {%- for part in message['content'] %}
                {%- if part['type'] == 'image' %}
                    {{- '<|image|>' }}
                {%- elif part['type'] == 'text' %}
                    {{- part['text'] | trim }}
                {%- endif %}
            {%- endfor %}
        {%- endif %}
        {{- '<|eot_id|>' }}
    {%- elif 'tool_calls' in message %}
        {%- if not message.tool_calls|length == 1 %}
            {{- raise_exception("This model only supports single tool-calls at once!") }}
        {%- endif %}
        {%- set tool_call = message.tool_calls[0].function %}
        {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' -}}
        {{- '{"name": "' + tool_call.name + '", ' }}
        {{- '"parameters": ' }}
        {{- tool_call.arguments | tojson }}
        {{- "}" }}
        {{- "<|eot_id|>" }}
    {%- elif message.role == "tool" or message.role == "ipython" %}
        {{- "<|start_header_id|>ipython<|end_header_id|>\\n\\n" }}
        {%- if message.content is mapping or message.content is iterable %}
            {{- message.content | tojson }}
        {%- else %}
            {{- message.content }}
        {%- endif %}
        {{- "<|eot_id|>" }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}
"""

MISTRAL = """{%- if messages[0]["role"] == "system" %}
    {%- set system_message = messages[0]["content"] %}
    {%- set loop_messages = messages[1:] %}
{%- else %}
    {%- set loop_messages = messages %}
{%- endif %}
{%- set user_messages = loop_messages | selectattr("role", "equalto", "user") | list %}
{%- set ns = namespace() %}
{%- set ns.index = 0 %}
{%- for message in loop_messages %}
    {%- if not (message.role == "tool" or (message.tool_calls is defined and message.tool_calls is not none)) %}
        {%- if (message["role"] == "user") != (ns.index % 2 == 0) %}
            {{- raise_exception("After the optional system message, roles must alternate user/assistant/user/assistant/...") }}
        {%- endif %}
        {%- set ns.index = ns.index + 1 %}
    {%- endif %}
{%- endfor %}
{{- bos_token }}
{%- for message in loop_messages %}
    {%- if message["role"] == "user" %}
        {%- if tools is defined and tools is not none and (message == user_messages[-1]) %}
            {{- "[AVAILABLE_TOOLS] [" }}
            {%- for tool in tools %}
                {%- set tool = tool.function %}
                {{- '{"type": "function", "function": {' }}
                {%- for key, val in tool.items() if key != "return" %}
                    {%- if val is string %}
                        {{- '"' + key + '": "' + val + '"' }}
                    {%- else %}
                        {{- '"' + key + '": ' + val|tojson }}
                    {%- endif %}
                    {%- if not loop.last %}
                        {{- ", " }}
                    {%- endif %}
                {%- endfor %}
                {{- "}}" }}
                {%- if not loop.last %}{{- ", " }}{%- else %}{{- "]" }}{%- endif %}
            {%- endfor %}
            {{- "[/AVAILABLE_TOOLS]" }}
        {%- endif %}
        {%- if loop.last and system_message is defined %}
            {{- "[INST] " + system_message + "\\n\\n" + message["content"] + "[/INST]" }}
        {%- else %}
            {{- "[INST] " + message["content"] + "[/INST]" }}
        {%- endif %}
    {%- elif message["role"] == "assistant" and message.content is defined and message.content %}
        {{- " " + message["content"]|trim + eos_token}}
    {%- elif message["role"] == "tool" %}
        {{- '[TOOL_RESULTS] {"content": ' + message.content|string + "}[/TOOL_RESULTS]" }}
    {%- endif %}
{%- endfor %}
"""

GEMMA = """{{ bos_token }}{% if messages[0]['role'] == 'system' %}{% set first = messages[0]['content'] + '\\n\\n' %}{% set rest = messages[1:] %}\
{% else %}{% set first = '' %}{% set rest = messages %}{% endif %}{% for message in rest %}\
{% if (message['role'] == 'assistant') %}{% set role = 'model' %}{% else %}{% set role = message['role'] %}{% endif %}\
{{ '<start_of_turn>' + role + '\\n' + (first if loop.first else '') }}{% if message['content'] is string %}{{ message['content'] | trim }}\
{% elif message['content'] is iterable %}{% for item in message['content'] %}{% if item['type'] == 'image' %}{{ '<start_of_image>' }}\
{% elif item['type'] == 'text' %}{{ item['text'] | trim }}{% endif %}{% endfor %}{% else %}{{ raise_exception("Invalid content type") }}{% endif %}\
{{ '<end_of_turn>\\n' }}{% endfor %}{% if add_generation_prompt %}{{'<start_of_turn>model\\n'}}{% endif %}
"""

PHI3 = """{% for message in messages %}{% if message['role'] == 'system' %}{{'<|system|>\\n' + message['content'] + '<|end|>\\n'}}\
{% elif message['role'] == 'user' %}{{'<|user|>\\n' + message['content'] + '<|end|>\\n'}}\
{% elif message['role'] == 'assistant' %}{{'<|assistant|>\\n' + message['content'] + '<|end|>\\n'}}{% endif %}{% endfor %}\
{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% else %}{{ eos_token }}{% endif %}"""

QWEN3 = """{%- if tools %}
    {{- '<|im_start|>system\\n' }}
    {%- if messages[0].role == 'system' %}
        {{- messages[0].content + '\\n\\n' }}
    {%- endif %}
    {{- "# Tools\\n\\nYou may call functions within <tools></tools>:\\n<tools>" }}
    {%- for tool in tools %}
        {{- "\\n" }}
        {{- tool | tojson }}
    {%- endfor %}
    {{- "\\n</tools><|im_end|>\\n" }}
{%- else %}
    {%- if messages[0].role == 'system' %}
        {{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}
    {%- endif %}
{%- endif %}
{%- set ns = namespace(multi_step_tool=true, last_query_index=messages|length - 1) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if ns.multi_step_tool and message.role == "user" and message.content is string and not(message.content.startswith('<tool_response>') and message.content.endswith('</tool_response>')) %}
        {%- set ns.multi_step_tool = false %}
        {%- set ns.last_query_index = index %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- if message.content is string %}
        {%- set content = message.content %}
    {%- else %}
        {%- set content = '' %}
    {%- endif %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) %}
        {{- '<|im_start|>' + message.role + '\\n' + content + '<|im_end|>' + '\\n' }}
    {%- elif message.role == "assistant" %}
        {%- set reasoning_content = '' %}
        {%- if message.reasoning_content is string %}
            {%- set reasoning_content = message.reasoning_content %}
        {%- else %}
            {%- if '</think>' in content %}
                {%- set reasoning_content = content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}
                {%- set content = content.split('</think>')[-1].lstrip('\\n') %}
            {%- endif %}
        {%- endif %}
        {%- if loop.index0 > ns.last_query_index %}
            {%- if loop.last or (not loop.last and reasoning_content) %}
                {{- '<|im_start|>' + message.role + '\\n<think>\\n' + reasoning_content.strip('\\n') + '\\n</think>\\n\\n' + content.lstrip('\\n') }}
            {%- else %}
                {{- '<|im_start|>' + message.role + '\\n' + content }}
            {%- endif %}
        {%- else %}
            {{- '<|im_start|>' + message.role + '\\n' + content }}
        {%- endif %}
        {%- if message.tool_calls %}
            {%- for tool_call in message.tool_calls %}
                {%- if (loop.first and content) or (not loop.first) %}
                    {{- '\\n' }}
                {%- endif %}
                {%- if tool_call.function %}
                    {%- set tool_call = tool_call.function %}
                {%- endif %}
                {{- '<tool_call>\\n{"name": "' }}
                {{- tool_call.name }}
                {{- '", "arguments": ' }}
                {%- if tool_call.arguments is string %}
                    {{- tool_call.arguments }}
                {%- else %}
                    {{- tool_call.arguments | tojson }}
                {%- endif %}
                {{- '}\\n</tool_call>' }}
            {%- endfor %}
        {%- endif %}
        {{- '<|im_end|>\\n' }}
    {%- elif message.role == "tool" %}
        {%- if loop.first or (messages[loop.index0 - 1].role != "tool") %}
            {{- '<|im_start|>user' }}
        {%- endif %}
        {{- '\\n<tool_response>\\n' }}
        {{- content }}
        {{- '\\n</tool_response>' }}
        {%- if loop.last or (messages[loop.index0 + 1].role != "tool") %}
            {{- '<|im_end|>\\n' }}
        {%- endif %}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\\n\\n</think>\\n\\n' }}
    {%- endif %}
{%- endif %}"""

DEEPSEEK = """{% if not add_generation_prompt is defined %}{% set add_generation_prompt = false %}{% endif %}\
{% set ns = namespace(is_first=false, is_tool=false, system_prompt='', is_first_sp=true) %}\
{%- for message in messages %}{%- if message['role'] == 'system' %}{%- if ns.is_first_sp %}{% set ns.system_prompt = ns.system_prompt + message['content'] %}\
{% set ns.is_first_sp = false %}{%- else %}{% set ns.system_prompt = ns.system_prompt + '\\n\\n' + message['content'] %}{%- endif %}{%- endif %}{%- endfor %}\
{{ bos_token }}{{ ns.system_prompt }}{%- for message in messages %}{%- if message['role'] == 'user' %}{%- set ns.is_tool = false -%}\
{{'<｜User｜>' + message['content']}}{%- endif %}{%- if message['role'] == 'assistant' and message['content'] %}{% set content = message['content'] %}\
{% if '</think>' in content %}{% set content = content.split('</think>')[-1] %}{% endif %}{{'<｜Assistant｜>' + content + '<｜end▁of▁sentence｜>'}}{%- endif %}\
{%- endfor -%}{% if add_generation_prompt and not ns.is_tool %}{{'<｜Assistant｜><think>\\n'}}{% endif %}"""

ZEPHYR = """{% for message in messages %}\n{% if message['role'] == 'user' %}\n{{ '<|user|>\\n' + message['content'] + eos_token }}\n\
{% elif message['role'] == 'system' %}\n{{ '<|system|>\\n' + message['content'] + eos_token }}\n{% elif message['role'] == 'assistant' %}\n\
{{ '<|assistant|>\\n'  + message['content'] + eos_token }}\n{% endif %}\n{% if loop.last and add_generation_prompt %}\n{{ '<|assistant|>' }}\n{% endif %}\n{% endfor %}"""

COMMAND = """{%- macro document_turn(documents) -%}
<results>
{% for doc in documents %}{% set index = loop.index0 %}
Document: {{ index }}
{% for key, value in doc.items() %}
{{ key|title }}: {{ value }}
{% endfor %}
{% endfor %}
</results>
{%- endmacro -%}
{%- macro render(name, type='string', required=[]) -%}
{{ name }}: {{ type }}{{ ' (required)' if name in required else '' }}
{%- endmacro -%}
{{ bos_token }}{% if documents %}{{ document_turn(documents) }}{% endif %}
{%- for tool in tools or [] %}
def {{ tool.function.name }}({% for name, p in tool.function.parameters.properties|dictsort %}{{ render(name, p.type, required=tool.function.parameters.required) }}{{ ', ' if not loop.last }}{% endfor %})
{{ tool.function.description | indent(2) }}
{% endfor -%}
{%- for message in messages -%}
<|START|>{{ message.role | upper }}<|{% generation %}{{ message.content if message.content is string else message.content | map(attribute='text') | join(' / ') }}{% endgeneration %}<|END|>
{%- endfor -%}"""

TEMPLATES = {
    "chatml": CHATML, "llama2": LLAMA2, "llama3": LLAMA3, "mistral": MISTRAL, "gemma": GEMMA, "phi3": PHI3, "qwen3": QWEN3,
    "deepseek": DEEPSEEK, "zephyr": ZEPHYR, "command": COMMAND,
}  # fmt: skip

TOOL = {
    "type": "function",
    "function": {
        "name": "weather", "description": "The weather <now> & \"soon\"\nat a place",
        "parameters": {"type": "object", "properties": {"place": {"type": "string"}, "days": {"type": "integer"}}, "required": ["place"]},
    },
}  # fmt: skip
CALL = {"type": "function", "function": {"name": "weather", "arguments": {"place": "Zürich", "days": 2, "hot": None, "x": [1.5, True]}}}
USER, ANSWER = {"role": "user", "content": "  Hello, wörld 👍\n"}, {"role": "assistant", "content": "Hi <there> \"you\"  "}
SYSTEM = {"role": "system", "content": "Be brief.\n  Always."}
THOUGHT = {"role": "assistant", "content": "<think>\nhm\n</think>\n\nYes."}
CONVERSATIONS = {
    "one": {"messages": [USER]},
    "turns": {"messages": [SYSTEM, USER, ANSWER, USER]},
    "thought": {"messages": [USER, THOUGHT, USER, THOUGHT]},
    "tools": {"messages": [SYSTEM, USER, {"role": "assistant", "content": "", "tool_calls": [CALL]}, {"role": "tool", "content": "sunny"}], "tools": [TOOL]},
    "wrong": {"messages": [USER, USER]},
    "parts": {"messages": [{"role": "user", "content": [{"type": "text", "text": " a "}, {"type": "image"}, {"type": "text", "text": "b"}]}],
              "documents": [{"title": "t", "text": "x"}], "enable_thinking": False},
}  # fmt: skip

# Each construct on its own; `x` and its like stand in CONTEXT.
CONTEXT = {
    "x": 7, "y": -2.5, "s": "Hello, Wörld ß", "l": [3, 1, 2], "d": {"b": 1, "a": [None, True, "q'\"\n"]}, "e": [], "n": None, "big": 1e20, "t": True,
    "people": [{"name": "Bo", "age": 3, "at": {"home": "x"}}, {"name": "al", "age": 30, "at": {"home": "y"}}, {"name": "Cy"}],
}  # fmt: skip
SMALL = [
    "{{ x }} {{ y }} {{ s }} {{ l }} {{ d }} {{ n }} {{ t }} {{ big }} {{ missing }}|{{ (1, 'a') }} {{ (1,) }}",
    "{{ 7 // 2 }} {{ -7 // 2 }} {{ 7 % -3 }} {{ 7 / 2 }} {{ 2 ** 10 }} {{ 2 ** -1 }} {{ -2 ** 2 }} {{ 1.5 // 1 }} {{ -1.5 % 1 }} {{ 1 + 2 * 3 - 4 }}",
    "{{ 'a' 'b' ~ 1 ~ none }} {{ 'ab' * 2 }} {{ [1] + [2] }} {{ 'x=%s y=%d' % ('a', 3) }} {{ 1_000 }} {{ 1e3 }} {{ 0.1 + 0.2 }}",
    "{{ 1 < 2 < 3 }} {{ 1 == 1.0 }} {{ 'a' < 'b' }} {{ [1,2] < [1,3] }} {{ 1 in l }} {{ 'b' in d }} {{ 'ell' in s }} {{ 4 not in l }} {{ not x }}",
    "{{ s[0] }}{{ s[-1] }}{{ s[1:4] }}{{ s[::-1] }}{{ l[1:] }}{{ l[::-2] }}{{ l[5] }}{{ l[-9:2] }}{{ d['a'][2] }}{{ d.b }}{{ l.0 }}{{ d['zz'] }}",
    "{{ s.upper() }} {{ s.lower() }} {{ s.title() }} {{ s.split(', ') }} {{ s.split() }} {{ 'a b  c'.split(' ', 1) }} {{ s.replace('l', 'L', 1) }} {{ s.find('W') }}",
    "{{ '  x '.strip() }}|{{ '  x '.lstrip() }}|{{ 'xxaxx'.strip('x') }}|{{ 'xxa'.rstrip('a') }}|{{ s.startswith('He') }}|{{ s.endswith(('d', 'ß')) }}",
    "{{ ','.join(['a', 'b']) }} {{ 'a,b,c'.rsplit(',', 1) }} {{ 'a\\nb\\r\\nc'.splitlines() }} {{ 'abc'.partition('b') }} {{ 'aXb'.isupper() }} {{ '12'.isdigit() }}",
    "{{ '{} and {0}'.format(1) if false else '{} {}'.format('a', 2) }} {{ 'ab'.zfill(5) }} {{ 'a'.center(4) }}| {{ 'abcabc'.count('bc') }} {{ 'ab'.removeprefix('a') }}",
    "{{ d.items()|list }} {{ d.keys()|list }} {{ d.get('zz', 5) }} {{ d.get('zz') }} {{ d|length }} {{ d|list }} {{ d|dictsort }} {{ d|items|list }}",
    "{{ missing|default('q') }} {{ ''|default('q') }} {{ ''|default('q', true) }} {{ none|d('z') }} {{ e|first }}|{{ l|last }} {{ l|sort }} {{ l|sort(reverse=true) }} {{ l|max }}{{ l|min }}{{ l|sum }}",
    "{{ people|map(attribute='name')|join(', ') }} {{ people|map(attribute='at.home', default='?')|list }} {{ people|map(attribute='age', default=0)|list }} {{ ['a','b']|map('upper')|list }}",
    "{{ people|selectattr('age')|map(attribute='name')|list }} {{ people|selectattr('age', 'gt', 5)|list|length if false }}{{ [1,2,3,4]|select('even')|list }}{{ [1,2,3]|reject('odd')|list }}{{ people|rejectattr('age', 'defined')|list }}",
    "{{ people|sort(attribute='name')|map(attribute='name')|list }} {{ ['b','A','c']|sort }} {{ ['b','A']|sort(case_sensitive=true) }} {{ ['a','A','b']|unique|list }}",
    "{{ '3.7'|int }} {{ 'zz'|int(9) }} {{ 3.99|int }} {{ '2.5'|float }} {{ 2.675|round(2) }} {{ 2.5|round }} {{ 3.2|round(0, 'ceil') }} {{ -3|abs }} {{ 'ff'|int(0, 16) }}",
    "{{ 'hello big-world (x)'|title }} {{ 'hELLO'|capitalize }} {{ '<a&b>'|escape }} {{ 'abc'|reverse }} {{ l|reverse|list }} {{ 'a b c'|wordcount }} {{ 'a'|upper }} {{ l|join('-') }}",
    "{{ d|tojson }} {{ d|tojson(indent=2) }} {{ s|tojson }} {{ s|tojson(ensure_ascii=true) }} {{ {'b': 1, 'a': {}}|tojson(sort_keys=true) }} {{ [1.0, 1e30, []]|tojson(separators=(',', ':')) }}",
    "{{ 'a\\nb\\n\\nc'|indent }}|{{ 'a\\nb'|indent(2, true) }}|{{ 'a\\n\\nb'|indent('> ', blank=true) }}|{{ '  a '|trim }}|{{ 'xax'|trim('x') }}|{{ [1,2,3]|batch(2, 0)|list }}",
    "{% for i in l %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.previtem }}{{ loop.nextitem }}{{ loop.cycle('a', 'b') }};{% endfor %}",
    "{% for i in e %}x{% else %}none{% endfor %}{% for k, v in d.items() %}{{ k }}={{ v }} {% endfor %}{% for i in range(5) if i % 2 %}{{ i }}{{ loop.length }}{% endfor %}{% for c in 'añ' %}[{{ c }}]{% endfor %}",
    "{% for i in range(9) %}{% if i == 2 %}{% continue %}{% endif %}{% if i == 5 %}{% break %}{% endif %}{{ i }}{% endfor %}{{ range(3)|list }}{{ range(1, 8, 3)|list }}{{ range(3, 0, -1)|list }}",
    "{% set a = 1 %}{% for i in l %}{% set a = a + i %}{{ a }}{% endfor %}{{ a }}{% set ns = namespace(v=0) %}{% for i in l %}{% set ns.v = ns.v + i %}{% endfor %}{{ ns.v }}{% if true %}{% set a = 5 %}{% endif %}{{ a }}",
    "{% set p, q = 1, 'z' %}{{ p }}{{ q }}{% set block %}in {{ p }}{% endset %}{{ block }}{% set up | upper | trim %} abc {% endset %}[{{ up }}]",
    "{% macro m(a, b='x', c=none) %}<{{ a }}{{ b }}{{ c }}{{ varargs }}{{ kwargs }}>{% endmacro %}{{ m(1) }}{{ m(1, 2, 3, 4, z=5) }}{{ m(b=1, a=2) }}{{ m() }}",
    "{% macro list(items) %}{% for i in items %}{% if i is iterable and i is not string %}({{ list(i) }}){% else %}{{ i }}{% endif %}{% endfor %}{% endmacro %}{{ list([1, [2, [3, 'a']], 4]) }}",
    "{% macro box(t) %}[{{ t }}: {{ caller() }}]{% endmacro %}{% call box('T') %}inside {{ x }}{% endcall %}{% filter upper %}abc {{ s }}{% endfilter %}{% with a=1, b=x %}{{ a }}{{ b }}{% endwith %}{{ a }}",
    "{{ x is defined }}{{ missing is undefined }}{{ n is none }}{{ x is number }}{{ t is boolean }}{{ t is number }}{{ t is integer }}{{ s is string }}{{ d is mapping }}{{ l is iterable }}{{ s is iterable }}{{ l is sequence }}{{ x is odd }}{{ x is divisibleby 7 }}{{ x is eq 7 }}{{ x is in [7] }}{{ y is float }}{{ x is not none }}{{ t is true }}{{ 'a' is lower }}{{ n is sameas none }}{{ m is callable }}",
    "a\n  {% if true %}\n  b\n  {% endif %}\nc\n{%- if true -%}\n  d\n{%- endif %}\n  {{ 'e' }}\n{# comment #}\nf {#- gone -#} g\n  {%+ if true %}h{% endif +%}\ni\n",
    "  {% for i in [1, 2] %}\n    {{ i }}\n  {% endfor %}\n\n{% raw %} {{ not }} {% this %} {% endraw %}\n{%- raw -%}  x  {%- endraw -%}  end",
    "{{ 'yes' if x > 5 else 'no' }}{{ 'only' if x > 50 }}{{ x if x else y }}{{ (x and y) or 0 }}{{ none or 'z' }}{{ '' and 'q' }}|{{ 1 if false else 2 if false else 3 }}",
    "{{ \"a'b\\\"c\\n\\t\\\\ \\u00e9\\x41\" }}{{ ['a\\'b', \"c\\\"d'\", 'é\\x01'] }}{{ {'k': (1, 2), 3: none}  }}{{ {1: 2}[1] }}",
    "{{ strftime_now('%Y-%m-%d %B %j') }}{{ dict(a=1, b=[2]) }}{{ 'x'|string|length }}{{ 5|string + '6' }}{{ 'abc'|list }}{{ 'a,b'.split(',')|map('trim')|list }}{{ -x|abs }}{{ l|map('string')|join }}",
    "{{ l.index(1) }}{{ l.count(2) }}{{ 'a' in ['a'] and 'b' not in 'abc' }}{{ [l, l]|tojson }}{{ ((1, 2), [3])|tojson }}{{ s|replace('o', '0') }}{{ 123|replace('2', 'x') }}{{ [1, '1', 1.0]|unique|list }}",
    "{% if x is defined and x and x is not string %}A{% elif false %}B{% else %}C{% endif %}{% if not (x == 7 and y < 0) %}D{% endif %}{% if people[0].at.home == 'x' %}E{% endif %}{% if people[2].at is defined %}F{% endif %}",
    # these are refused by both
    "{{ missing.attribute }}", "{{ missing + 1 }}", "{{ 1 + 'a' }}", "{{ l.append(1) }}", "{{ raise_exception('because') }}", "{% for a, b in l %}{% endfor %}",
    "{{ x('y') }}", "{{ 1 / 0 }}", "{{ 'a' < 1 }}", "{% if %}", "{{ x | nofilter }}", "{{ x is notest }}", "{% endif %}", "{% for i in l %}", "{{ 'abc }}", "{% break %}",
    "{{ d.update({'a': 1}) }}", "{{ ''.__class__ }}x", "{{ missing() }}", "{% unknown %}", "{{ [1, 2 }}", "{{ range(1000000) }}", "{{ x.y.z }}",
]  # fmt: skip


def expected(template, context):
    """What jinja2 gives: (text, None), or (None, what it says)."""
    try:
        return environment().from_string(template).render(**context), None
    except (jinja2.exceptions.TemplateError, jinja2.exceptions.SecurityError, TypeError, ValueError, ZeroDivisionError, OverflowError, SyntaxError, LookupError) as e:
        return None, str(e)


def cases():
    for name, template in TEMPLATES.items():
        for conversation, context in CONVERSATIONS.items():
            for prompt in (True, False):
                tokens = {"bos_token": "<s>", "eos_token": "</s>", "add_generation_prompt": prompt}
                yield f"{name}-{conversation}-{prompt}", template, context | tokens
    for i, template in enumerate(SMALL):
        yield f"small-{i}", template, CONTEXT
