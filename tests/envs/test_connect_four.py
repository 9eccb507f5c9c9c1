import cloudpickle
import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import coax.envs
from coax.errors import EpisodeDoneError, UnavailableActionError

# the first player's moves are the even places; each game is won by its last move
GAMES = {
    # 3 . . . . . .
    # X O . . . . .
    # X O . . . . .
    # X O . . . . .
    "column": [0, 1, 0, 1, 0, 1, 0],
    # O O O . . . .
    # X X X 3 . . .
    "row": [0, 0, 1, 1, 2, 2, 3],
    # . . . 3         played bottom up: column 0 gets X, 1 gets O X, 2 gets O O X, 3 gets O X O X
    # . . X O
    # . X O X
    # X O O O
    "rising diagonal": [0, 1, 1, 2, 6, 2, 2, 3, 3, 3, 3],
    # the same seen in a mirror
    "falling diagonal": [6, 5, 5, 4, 0, 4, 4, 3, 3, 3, 3],
    # the second player wins in the top corner's column
    "second player": [0, 6, 1, 6, 0, 6, 1, 6],
}

# A game that fills the board without four in line; the finished board, top row first:
# X O O O X O X
# O O X O X O O
# O O X X X O X
# X X X O O X O
# X O O X O X X
# O O X X O X X
DRAWN = [2, 0, 5, 4, 6, 2, 0, 1, 3, 4, 2, 1, 6, 4, 3, 3, 3, 3, 1, 1, 0]
DRAWN += [1, 5, 1, 5, 0, 2, 0, 0, 3, 4, 6, 6, 6, 4, 5, 6, 5, 2, 5, 4, 2]


def play(env, moves):
    env.reset()
    return [env.step(a) for a in moves][-1]


@pytest.mark.parametrize("name", GAMES)
def test_four_in_line_wins(name):
    env = coax.envs.ConnectFourEnv()
    env.reset()
    *before, last = GAMES[name]
    for a in before:
        _, r, terminated, truncated, _ = env.step(a)
        assert (r, terminated, truncated) == (0.0, False, False)
    _, r, terminated, truncated, _ = env.step(last)
    assert (r, terminated, truncated) == (1.0, True, False)  # the reward of the player who moved
    assert env.done


def test_every_line_of_the_board_is_seen():
    # 6 * 4 in rows, 3 * 7 in columns, 3 * 4 in each diagonal: 69 lines
    seen = set()
    for row in range(6):
        for column in range(7):
            for down, right in ((0, 1), (1, 0), (1, 1), (1, -1)):
                cells = [(row + i * down, column + i * right) for i in range(4)]
                if all(0 <= i < 6 and 0 <= j < 7 for i, j in cells):
                    board = np.zeros((6, 7), bool)
                    board[tuple(zip(*cells, strict=True))] = True
                    assert coax.envs._connect_four._has_line(board)
                    board[cells[2]] = False
                    assert not coax.envs._connect_four._has_line(board)
                    seen.add(frozenset(cells))
    assert len(seen) == 69


def test_a_full_board_without_a_line_is_a_draw():
    env = coax.envs.ConnectFourEnv()
    env.reset()
    for move, a in enumerate(DRAWN, 1):
        _, r, terminated, truncated, _ = env.step(a)
        assert (r, terminated, truncated) == (0.0, move == 42, False)
    assert env.available_actions.size == 0


def test_the_observation_is_that_of_the_player_to_move():
    env = coax.envs.ConnectFourEnv()
    s, _ = env.reset()
    assert s.shape == (7, 7, 2)
    assert s.dtype == np.uint8
    np.testing.assert_array_equal(s[0], np.ones((7, 2)))
    assert s[1:].sum() == 0

    s, *_ = env.step(3)  # the second player is to move and has no token yet
    assert (s[1:, :, 0].sum(), s[1:, :, 1].sum()) == (0, 1)
    assert s[6, 3, 1] == 1

    s, *_ = env.step(3)  # now the first: an own token below, the other's above
    assert (s[6, 3, 0], s[6, 3, 1]) == (1, 0)
    assert (s[5, 3, 0], s[5, 3, 1]) == (0, 1)


def test_a_full_column():
    env = coax.envs.ConnectFourEnv()
    s, *_ = play(env, [2, 2, 2, 2, 2, 2])
    np.testing.assert_array_equal(s[0, :, 0], [1, 1, 0, 1, 1, 1, 1])
    np.testing.assert_array_equal(env.available_actions, [0, 1, 3, 4, 5, 6])
    np.testing.assert_array_equal(env.available_actions_mask, [True, True, False, True, True, True, True])
    before = env.state_id
    with pytest.raises(UnavailableActionError, match=r"column 2 is full. Fix: choose one of env.available_actions"):
        env.step(2)
    assert env.state_id == before


@pytest.mark.parametrize("action", [7, -1, 1.0, "2", None])
def test_an_action_that_is_no_column(action):
    env = coax.envs.ConnectFourEnv()
    env.reset()
    with pytest.raises(ValueError, match=r"expected an integer from 0 to 6, got .* Fix: "):
        env.step(action)


def test_a_step_after_the_end():
    env = coax.envs.ConnectFourEnv()
    play(env, GAMES["row"])
    with pytest.raises(EpisodeDoneError, match=r"the game is over. Fix: call env.reset\(\) first"):
        env.step(0)
    env.reset()
    env.step(0)


def test_state_id_by_hand():
    env = coax.envs.ConnectFourEnv()
    _, info = env.reset()
    assert info["state_id"] == env.state_id == "107" + 17 * "0"
    # 6 is the last cell of the board, hence the last digit of base 3: token 1. Then token 2 in the cell before: 2 * 3.
    _, _, _, _, info = env.step(6)
    assert info["state_id"] == "206" + 16 * "0" + "1"
    _, _, _, _, info = env.step(5)
    assert info["state_id"] == "105" + 16 * "0" + "7"


@pytest.mark.parametrize("n", [0, 1, 4, 7])
def test_state_id_round_trip(n):
    env, other = coax.envs.ConnectFourEnv(), coax.envs.ConnectFourEnv()
    env.reset()
    for a in GAMES["row"][:n]:
        env.step(a)
    other.set_state(env.state_id)
    assert other.state_id == env.state_id
    assert other.done == env.done == (n == 7)
    np.testing.assert_array_equal(other.state, env.state)
    if not env.done:
        assert other.step(3)[4] == env.step(3)[4]


@pytest.mark.parametrize(
    "state_id",
    [
        "",
        "107",
        None,
        "307" + 17 * "0",  # there are two players
        "108" + 17 * "0",
        "107" + 17 * "g",
        "107" + 17 * "f",  # more than 42 digits of base 3
        "107" + 16 * "0" + "-",
        "107" + f"{3**41:017x}",  # a token in the top corner, over an empty column
    ],
)
def test_set_state_refuses_what_is_no_state_id(state_id):
    env = coax.envs.ConnectFourEnv()
    play(env, [1, 2])
    before = env.state_id
    with pytest.raises(ValueError, match=r"expected 20 hexadecimal digits .* Fix: "):
        env.set_state(state_id)
    assert env.state_id == before


def test_render_ansi():
    env = coax.envs.ConnectFourEnv(render_mode="ansi")
    play(env, [0, 0])
    assert env.render().splitlines() == [
        "  0   1   2   3   4   5   6",
        "|   |   |   |   |   |   |   |",
        "|   |   |   |   |   |   |   |",
        "|   |   |   |   |   |   |   |",
        "|   |   |   |   |   |   |   |",
        "| ○ |   |   |   |   |   |   |",
        "| ● |   |   |   |   |   |   |",
        "+---+---+---+---+---+---+---+",
    ]


def test_render_prints(capsys):
    env = coax.envs.ConnectFourEnv()
    env.reset()
    assert capsys.readouterr().out == ""
    assert env.render() is None
    assert capsys.readouterr().out.count("\n") == 9


def test_render_human_prints_after_each_move(capsys):
    env = coax.envs.ConnectFourEnv(render_mode="human")
    env.reset()
    env.step(0)
    assert capsys.readouterr().out.count("\n") == 18


def test_render_mode_is_checked():
    with pytest.raises(ValueError, match=r"expected 'human', 'ansi' or None, got 'rgb_array'. Fix: "):
        coax.envs.ConnectFourEnv(render_mode="rgb_array")


def test_gymnasium_accepts_it(capsys):
    env = gymnasium.make("ConnectFour-v0")
    assert env.spec.max_episode_steps is None
    assert isinstance(env.unwrapped, coax.envs.ConnectFourEnv)
    check_env(env.unwrapped)
    capsys.readouterr()


def test_random_games_follow_the_rules():
    env = coax.envs.ConnectFourEnv()
    rng = np.random.default_rng(7)
    for _ in range(20):
        s, _ = env.reset()
        for t in range(1, 43):
            assert env.observation_space.contains(s)
            s, r, terminated, _, _ = env.step(rng.choice(env.available_actions))
            # after t moves the player to move has floor(t / 2) tokens, the other ceil(t / 2)
            assert (s[1:, :, 0].sum(), s[1:, :, 1].sum()) == (t // 2, (t + 1) // 2)
            if terminated:
                break
        assert terminated
        assert r == 1.0 or t == 42


def test_pickle_and_independent_spaces():
    env = coax.envs.ConnectFourEnv()
    play(env, [1, 2])
    assert cloudpickle.loads(cloudpickle.dumps(env)).state_id == env.state_id
    assert env.action_space is not coax.envs.ConnectFourEnv().action_space
